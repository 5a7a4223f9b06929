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
# # Closed loop on a simulated plant
#
# A plan is made anew each period from the newest row, and only its first move is carried out. Nothing else is needed
# to control: no state is kept between the plans. The plant here is the simulated quadruple tank; on a real one, a
# controller beside the plant (`twin control`) does this behind its checks, and starts in shadow.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.telemetry import Telemetry
from twin.train import Options, fit

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3, "date.converter": "concise"})

# %% tags=["parameters"]
rows = 3000
budget_s = 60.0

# %%
simulator = Simulator(QuadrupleTank(), seed=7)
plant = simulator.plant
twin = fit(simulator.excite(rows), Options(budget_s=budget_s))
history = simulator.run([[2.8, 2.6]] * 120).frame()
pumps, levels = ["pump_1", "pump_2"], ["level_1", "level_2"]

# %% [markdown]
# ## Setpoints, a step in them, and a leak
#
# Some minutes at the first setpoints, then they step; later a leak opens in tank 1, which nothing measures. The twin
# was never told of it: it sees that its forecasts were off, and takes the difference for a disturbance that stays.

# %%
periods = rows // 15
step, leak = periods // 4, periods // 2
statuses, bands, wanted = [], [], []
for k in range(periods):
    if k == leak:
        simulator.disturb(leak_1=0.1)
    target = {"level_1": 9.5, "level_2": 9.0} if k < step else {"level_1": 11.0, "level_2": 8.0}
    objective = Objective(setpoints={name: Setpoint(value) for name, value in target.items()})
    answer = plan(twin, Telemetry.from_frame(plant, history.tail(120)), objective, horizon_s=300)
    row = simulator.advance(answer.next)
    history.loc[simulator.time] = row
    statuses.append(answer.status)
    wanted.append(target)
    bands.append({name: (float(b.mean[0]), float(b.low[0]), float(b.high[0])) for name, b in answer.cvs.items()})
print(pd.Series(statuses).value_counts().to_dict())

# %%
run = history.tail(periods)
wanted = pd.DataFrame(wanted, index=run.index)
fig, axes = plt.subplots(3, 1, figsize=(11, 8), sharex=True, layout="constrained")
for color, name in zip(("C0", "C1"), levels, strict=True):
    axes[0].plot(run.index, run[name], color=color, label=name)
    axes[0].step(wanted.index, wanted[name], ":", color=color, where="post")
axes[1].plot(run.index, run["level_3"], color="C2", label="level_3")
axes[1].plot(run.index, run["level_4"], color="C4", label="level_4")
for color, name in zip(("C0", "C1"), pumps, strict=True):
    axes[2].step(run.index, run[name], color=color, where="pre", label=name)
for ax, unit in zip(axes, ("cm", "cm", "V"), strict=True):
    ax.set_ylabel(unit)
    ax.axvline(run.index[leak], color="C3", ls="--", lw=1)
    ax.legend(loc="upper left", ncols=2)
axes[0].set_title("Setpoints step, then (dashed) a leak opens in tank 1")
plt.show()

# %% [markdown]
# ## Were the forecasts honest?
#
# Each plan forecast the next reading. The shade is its band; the dots are what came. The leak shows for some rows,
# until the disturbance estimate has taken it in.

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 3.8), sharex=True, layout="constrained")
for ax, name in zip(axes, levels, strict=True):
    mean, low, high = (pd.Series([band[name][i] for band in bands], run.index) for i in range(3))
    ax.fill_between(run.index, low - mean, high - mean, alpha=0.25, label="band of the next reading")
    ax.plot(run.index, run[name] - mean, ".", ms=3, label="reading − forecast")
    ax.axvline(run.index[leak], color="C3", ls="--", lw=1)
    inside = ((run[name] >= low) & (run[name] <= high)).mean()
    ax.set_title(f"{name}: {inside:.0%} inside")
axes[0].set_ylabel("cm")
axes[0].legend()
plt.show()

# %% [markdown]
# ## Moves within limits and rates, always
#
# Every MV value a plan returns is checked in float64 against the plant's limits and rate limits. A count over the whole
# run:

# %%
before = history[pumps].shift(1).tail(periods)
rates = (run[pumps] - before).abs() / plant.sample_period_s
for tag in plant.mvs:
    value = run[tag.name]
    print(
        f"{tag.name}: {value.min():.2f} to {value.max():.2f} {tag.unit} (limits {tag.low:g} to {tag.high:g});"
        f" fastest {rates[tag.name].max():.4f} {tag.unit}/s (limit {tag.rate_limit_per_s:g})"
    )
