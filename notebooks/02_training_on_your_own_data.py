# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Training on your own data
#
# What a historian gives is never clean: hours are missing, a transmitter sticks, some values are impossible. This
# notebook uploads such a table, reads what the quality report says of it, trains, reads the report of the twin, and
# ends with the case in which it should not be trusted: data from a loop that was closed all the time.

# %%
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from twin.evaluate import report
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.quality import assess
from twin.storage.batch import of_frame
from twin.store import Store
from twin.telemetry import Telemetry
from twin.train import Options, fit

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3, "date.converter": "concise"})

# %% tags=["parameters"]
rows = 3000
budget_s = 60.0

# %% [markdown]
# ## A table as it comes
#
# Columns are tags, the index is time. To make the point, a piece is cut out, the transmitter of level 3 sticks for a
# while, and level 4 shows values that a tank of 30 cm cannot have.

# %%
simulator = Simulator(QuadrupleTank(), seed=11)
plant = simulator.plant
table = simulator.excite(rows).frame()
stuck = slice(rows // 3, rows // 3 + 150)
table.iloc[stuck, table.columns.get_loc("level_3")] = table["level_3"].iloc[stuck.start]
table.iloc[rows // 2 : rows // 2 + 4, table.columns.get_loc("level_4")] = 400.0
table = table.drop(table.index[2 * rows // 3 : 2 * rows // 3 + 100])

# %% [markdown]
# ## What the telemetry is worth

# %%
store = Store(tempfile.mkdtemp()).plant("own")
receipt = store.append(of_frame(table))
telemetry = Telemetry.from_frame(plant, store.read())
quality = assess(telemetry, store.uploads())
print(f"{receipt.rows_stored} rows stored; {quality['gaps']['count']} gap of {quality['gaps']['total_s']:g} s")
for warning in quality["warnings"]:
    print("·", warning["detail"])
for name, mv in quality["mvs"].items():
    print(f"{name}: {mv['moves']} moves over {mv['range_used']:.0%} of its range; {mv['verdict']}")

# %%
fig, (top, bottom) = plt.subplots(2, 1, figsize=(11, 5), sharex=True, layout="constrained")
frame = telemetry.frame()
grid = pd.date_range(frame.index[0], frame.index[-1], freq=f"{plant.sample_period_s:g}s")
for ax, names in ((top, ["level_3", "level_4"]), (bottom, ["pump_1", "pump_2"])):
    for name in names:
        ax.plot(frame[name].reindex(grid), lw=0.8, label=name)
for span in quality["tags"]["level_3"]["frozen"]["longest"]:
    top.axvspan(pd.Timestamp(span["start"]), pd.Timestamp(span["end"]), color="C1", alpha=0.3)
for gap in quality["gaps"]["longest"]:
    top.axvspan(pd.Timestamp(gap["start"]), pd.Timestamp(gap["end"]), color="grey", alpha=0.3)
top.set_ylim(0, 12)
top.set_ylabel("cm")
bottom.set_ylabel("V")
top.set_title("Found by the quality report: a gap (grey), a stuck transmitter (orange), impossible values")
top.legend(loc="upper right", ncols=2)
bottom.legend(loc="upper right", ncols=2)
plt.show()

# %% [markdown]
# A stuck transmitter is a wrong measurement, not a fact of the plant. Here what is known to be wrong is taken out
# (missing is fine: windows never cross a gap, and a missing value has no weight), and the twin is trained on the rest.

# %%
table.iloc[stuck, table.columns.get_loc("level_3")] = np.nan
table["level_4"] = table["level_4"].mask(table["level_4"] > 30)
clean = Telemetry.from_frame(plant, table)
twin = fit(clean, Options(budget_s=budget_s))
card = report(twin, clean)
print(card["training"]["residual"]["why"])

# %% [markdown]
# ## Reading the report
#
# Each forecast below was made by a member that never saw that part of the telemetry. *Persistence* says that nothing
# changes; *ARX* is a linear model of the same data. The lower row is the honesty of the bands: the measured share of
# values inside should lie at the dashed line.

# %%
fig, axes = plt.subplots(2, 4, figsize=(13, 5.5), sharex=True, sharey="row", layout="constrained")
minutes = np.array(card["backtest"]["times_s"]) / 60
for (above, below), (name, cv) in zip(axes.T, card["backtest"]["cvs"].items(), strict=True):
    for peer, style in (("persistence", ":"), ("arx", "--"), ("twin", "-")):
        above.plot(minutes, cv["rmse"][peer], style, label=peer)
    above.set_title(name)
    below.plot(minutes, cv["coverage"]["measured"])
    below.axhline(cv["coverage"]["asked"], color="grey", ls="--")
    below.set_ylim(0.5, 1)
    below.set_xlabel("minutes ahead")
axes[0, 0].set_ylabel("RMSE, cm")
axes[1, 0].set_ylabel("share inside the band")
axes[0, 0].legend()
plt.show()

# %% [markdown]
# ## When not to trust it
#
# The same tanks, but level 1 was under control of pump 1 and level 2 under that of pump 2 for as long as the historian
# remembers. The pumps move, so the table looks rich. But they only answer the levels, and so the table says little of
# what the pumps do by themselves: the quality report says so before anything is trained.

# %%
loop = Simulator(QuadrupleTank(), seed=5)
held = {"level_1": 12.0, "level_2": 12.5}
records = {}
level = {"level_1": 12.4, "level_2": 12.7}
for _ in range(rows // 3):
    moves = {f"pump_{i}": 3.0 + 0.3 * (held[f"level_{i}"] - level[f"level_{i}"]) for i in (1, 2)}
    level = loop.advance(moves)
    records[loop.time] = level
closed = Telemetry.from_frame(plant, pd.DataFrame.from_dict(records, orient="index"))
for name, mv in assess(closed)["mvs"].items():
    print(f"{name}: {mv['moves']} moves, {mv['feedback_r2']:.0%} explained by feedback; {mv['verdict']}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for ax, of, title in ((axes[0], clean, "step test"), (axes[1], closed, "under control")):
    seen = of.frame()
    ax.plot(seen["level_1"].shift(1), seen["pump_1"], ".", ms=2)
    ax.set_xlabel("level 1 a period before, cm")
    ax.set_title(title)
axes[0].set_ylabel("pump 1, V")
plt.show()

# %% [markdown]
# On the right the pump is a function of the level: a model cannot tell which of the two moves the other. Design a step
# test (notebook 04), or look for times when somebody moved the pumps by hand.
