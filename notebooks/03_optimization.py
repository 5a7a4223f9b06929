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
# # Optimization: setpoints, limits, ranks and prices
#
# The objective is given with the question. Nothing is retrained between the plans below.

# %%
import copy

import matplotlib.pyplot as plt
import pandas as pd

from twin.limits import Limit
from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.predict import Scenario, forecast
from twin.timeline import Step
from twin.train import Options, fit

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3, "date.converter": "concise"})

# %% tags=["parameters"]
rows = 3000
budget_s = 60.0

# %%
simulator = Simulator(QuadrupleTank(), seed=7)
twin = fit(simulator.excite(rows), Options(budget_s=budget_s))
history = simulator.run([[2.8, 2.6]] * 120)
pumps, levels = ["pump_1", "pump_2"], ["level_1", "level_2", "level_3", "level_4"]
now = history.frame().iloc[-1]
print({name: round(float(now[name]), 2) for name in pumps + levels})

# %% [markdown]
# ## A target
#
# Levels 1 and 2 go up to 13 and 12 cm. The certificate names every limit with what is left of it at its worst;
# `coverage` is the share of measured values for which a CV's limit holds, step by step. MV limits hold exactly.

# %%
target = Objective(setpoints={"level_1": Setpoint(13.0), "level_2": Setpoint(12.0)})
free = plan(twin, history, target, horizon_s=300)
print(f"{free.status}: {free.detail}")
pd.DataFrame([entry.to_json() for entry in free.certificate])[["tag", "side", "limit", "worst", "margin", "kept"]]

# %% [markdown]
# ## A limit in the way
#
# Level 3 must stay below a limit that the target would break. The plan keeps it with the margin that its uncertainty
# asks for (the shade ends at the limit, not the line), and gives up some of the target.

# %%
ceiling = round(float(now["level_3"] + free.cvs["level_3"].high.max()) / 2, 1)
limited = plan(twin, history, target, {"level_3": Limit(high=ceiling)}, horizon_s=300)
print(f"{limited.status}: {limited.detail}")

# %%
fig, axes = plt.subplots(3, 2, figsize=(11, 8), sharex=True, sharey="row", layout="constrained")
past = history.frame().tail(24)
for column, answer, title in zip(axes.T, (free, limited), ("no limit on level 3", "level 3 limited"), strict=True):
    for ax, names in ((column[0], levels[:2]), (column[1], ["level_3"])):
        for color, name in zip(("C0", "C1"), names, strict=False):
            band = answer.cvs[name]
            ax.plot(past.index, past[name], color=color, lw=1)
            ax.plot(answer.times, band.mean, color=color, label=name)
            ax.fill_between(answer.times, band.low, band.high, color=color, alpha=0.2)
        ax.legend(loc="lower right")
    for value, color in ((13.0, "C0"), (12.0, "C1")):
        column[0].axhline(value, color=color, ls=":", lw=1)
    column[1].axhline(ceiling, color="black", lw=1.5)
    for color, pump in zip(("C0", "C1"), pumps, strict=True):
        moves = pd.concat([past[pump], pd.Series(answer.moves[pump], answer.times)])
        column[2].step(moves.index, moves, where="pre", color=color, label=pump)
    column[2].legend(loc="lower right")
    column[0].set_title(title)
for ax, unit in zip(axes[:, 0], ("cm", "cm", "V"), strict=True):
    ax.set_ylabel(unit)
plt.show()

# %% [markdown]
# ## When not everything can be had: ranks
#
# Two limits that contradict each other: level 2 above 13 cm, and level 3 below 1.2 cm, though pump 2 feeds both. `rank`
# says which one matters more; the answer says what was relaxed, by how much and when. An infeasible wish is a status,
# not an error.

# %%
wishes = {"level_2": 13.0, "level_3": 1.2}
relaxed = {}
for first in wishes:
    limits = {
        "level_2": Limit(low=wishes["level_2"], rank=1 if first == "level_2" else 2),
        "level_3": Limit(high=wishes["level_3"], rank=1 if first == "level_3" else 2),
    }
    relaxed[first] = plan(twin, history, Objective(), limits, horizon_s=300)
    print(f"rank 1 is {first}: {relaxed[first].status}")
    for entry in relaxed[first].certificate:
        if not entry.kept:
            print(f"   {entry.tag} {entry.side} {entry.limit:g}: short by {-entry.margin:.2f} at worst")

# %%
fig, axes = plt.subplots(2, 2, figsize=(11, 5), sharex=True, sharey="row", layout="constrained")
for column, (first, answer) in zip(axes.T, relaxed.items(), strict=True):
    for ax, name, side in ((column[0], "level_2", "at least"), (column[1], "level_3", "at most")):
        band = answer.cvs[name]
        ax.plot(answer.times, band.mean)
        ax.fill_between(answer.times, band.low, band.high, alpha=0.25)
        ax.axhline(wishes[name], color="black", lw=1.5, label=f"{side} {wishes[name]:g} cm")
        ax.legend(loc="center right")
    column[0].set_title(f"rank 1: {first}")
for ax, name in zip(axes[:, 0], wishes, strict=True):
    ax.set_ylabel(f"{name}, cm")
plt.show()

# %% [markdown]
# ## Prices
#
# Pump 1 costs more by the volt and hour than pump 2, or the other way round. Levels 1 and 2 only have to stay above
# 8 cm: the plan runs each pump as low as the limits allow, and leans on the cheaper one.

# %%
floor = {"level_1": Limit(low=8.0), "level_2": Limit(low=8.0)}
priced = {
    f"pump {dear} costs ten times as much": plan(
        twin, history, Objective(prices={f"pump_{dear}": 10.0, f"pump_{3 - dear}": 1.0}), floor, horizon_s=300
    )
    for dear in (1, 2)
}
fig, axes = plt.subplots(2, 2, figsize=(11, 5), sharex=True, sharey="row", layout="constrained")
for column, (title, answer) in zip(axes.T, priced.items(), strict=True):
    for color, name, pump in zip(("C0", "C1"), levels, pumps, strict=False):
        band = answer.cvs[name]
        column[0].plot(answer.times, band.mean, color=color, label=name)
        column[0].fill_between(answer.times, band.low, band.high, color=color, alpha=0.2)
        column[1].step(answer.times, answer.moves[pump], color=color, label=pump, where="pre")
    column[0].axhline(8.0, color="black", lw=1.5)
    column[0].set_title(f"{title}: {answer.status}")
    column[0].legend()
    column[1].legend()
axes[0, 0].set_ylabel("cm")
axes[1, 0].set_ylabel("V")
plt.show()

# %% [markdown]
# ## Did it come true?
#
# A copy of the plant makes the moves of the limited plan (dots). Meanwhile its inflow into tank 3 wanders, which nobody
# could know when the plan was made; the shade is the forecast told afterwards what the inflow did. What lies between
# the dashed line, the plan, and the shade is the disturbance's doing: the next plan, a period later, answers it.

# %%
truth = copy.deepcopy(simulator).run(pd.DataFrame(limited.moves)[pumps].to_numpy()).frame()
period = simulator.plant.sample_period_s
moves = {pump: [Step(k * period, value) for k, value in enumerate(limited.moves[pump])] for pump in pumps}
came = {"inflow_3": [Step(k * period, value) for k, value in enumerate(truth["inflow_3"])]}
told = forecast(twin, history, horizon_s=300, scenarios=[Scenario("told", moves, came)]).scenarios[0]
fig, ax = plt.subplots(figsize=(10, 4.5), layout="constrained")
for color, name in zip(("C0", "C1", "C2"), ("level_1", "level_2", "level_3"), strict=True):
    band = told.cvs[name]
    ax.fill_between(limited.times, band.low, band.high, color=color, alpha=0.25, label=name)
    ax.plot(limited.times, limited.cvs[name].mean, "--", color=color, lw=1)
    ax.plot(truth.index, truth[name], ".", ms=4, color=color)
ax.axhline(ceiling, color="black", lw=1.5)
ax.set_ylabel("cm")
ax.legend(loc="center right")
plt.show()
