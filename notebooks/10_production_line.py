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
# # Production line: continuous annealing of steel strip
#
# Strip runs through three heated zones and forty metres of air before its temperature is measured: the dead time
# depends on the speed. Zones store heat, thin strip heats faster than thick, and what is sold is tonnes an hour of
# strip that was hot enough. Heat transfer after Yoshitani and Hasegawa (1998).

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from twin.plants.practice import operate
from twin.plants.simulator import Simulator
from twin.plants.systems import SYSTEMS
from twin.predict import Scenario, forecast
from twin.sandbox.loop import Hold, Planner, run
from twin.sandbox.practice import UsualPractice
from twin.sandbox.scenario import Scenario as Trial
from twin.timeline import Step
from twin.train import Options, fit

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3, "date.converter": "concise"})

# %% tags=["parameters"]
rows = 4000
budget_s = 60.0

# %% [markdown]
# ## What a historian holds
#
# Eleven hours at a row each ten seconds: zone and strip temperature controllers, a speed that follows the order book,
# coils of varying thickness, small test moves.

# %%
system = SYSTEMS["annealing-line"]
plant = system.process.plant
telemetry = system.telemetry(rows, seed=7)
frame = telemetry.frame().tail(400)
axes = frame.plot(subplots=True, figsize=(11, 1.3 * len(plant.tags)), lw=0.8, legend=False)
for ax, tag in zip(axes, plant.tags, strict=True):
    ax.set_ylabel(f"{tag.name}\n{tag.unit}", fontsize=7)
plt.show()

# %%
twin = fit(telemetry, Options(budget_s=budget_s))
card = twin.card
print(f"{card['training']['backbone']['name']}, residual ships: {card['training']['residual']['ships']}")

# %% [markdown]
# ## What if?
#
# The line runs 10 m/min faster: more output at once, colder strip later.

# %%
simulator = Simulator(system.process, seed=8)
history = operate(simulator, system.practice(), 300, system.targets, system.tests, seed=8)
now = history.frame().iloc[-1]
moves = {"speed": [Step(0.0, now["speed"] + 10.0)]}
answer = forecast(twin, history, 60 * plant.sample_period_s, [Scenario("what if", moves)])
(asked,) = answer.scenarios
came = simulator.run([[asked.moves[tag.name][k] for tag in plant.mvs] for k in range(60)]).frame()
doubts = [reason.detail for reason in asked.trust.reasons]
print(f"trust {asked.trust.score:.0%}", *doubts, sep="; ")

# %%
cvs = ["zone_3", "strip", "output"]
fig, axes = plt.subplots(1, len(cvs), figsize=(4.2 * len(cvs), 3.4), layout="constrained")
past = history.frame().tail(40)
for ax, name in zip(axes if len(cvs) > 1 else [axes], cvs, strict=True):
    band = asked.cvs[name]
    ax.plot(past.index, past[name], color="C7", lw=1)
    ax.plot(answer.times, answer.baseline[name].mean, "--", color="C7", label="if nothing moves")
    ax.plot(answer.times, band.mean, color="C0", label="if it moves")
    ax.fill_between(answer.times, band.low, band.high, color="C0", alpha=0.2)
    ax.plot(came.index, came[name], ".", color="C3", ms=3, label="what came")
    ax.set_title(f"{name}, {plant.tag(name).unit}", fontsize=9)
ax.legend(fontsize=7)
plt.show()

# %% [markdown]
# ## Three objectives that training never knew
#
# Steps of the strip temperature; the most output within limits of strip and zones; an output at the least gas.
#
# Where the planner abstains, it hands the plant back to the usual practice, as `twin control` does.

# %%
bodies = json.loads(Path("objectives/annealing-line.json").read_text())
trials = [Trial.from_json(body, plant) for body in bodies]
print(json.dumps(bodies[1]["events"][0]))
outcomes = [
    run(system.process, controller, trial)
    for trial in trials
    for controller in (Hold(), UsualPractice(system), Planner(twin, name="twin", base=UsualPractice(system)))
]
columns = ["scenario", "controller", "cost", "paid_per_h", "cv_rows", "cv_worst", "statuses"]
pd.DataFrame([{name: vars(one)[name] for name in columns} for one in outcomes]).round(5)

# %%
names = ["strip", "output", "zone_3", "burner_1", "burner_3", "speed"]
fig, axes = plt.subplots(len(names), 3, figsize=(13, 1.9 * len(names)), sharex="col", layout="constrained")
for column, usual, planned in zip(axes.T, outcomes[1::3], outcomes[2::3], strict=True):
    column[0].set_title(planned.scenario, fontsize=9)
    for ax, name in zip(column, names, strict=True):
        is_cv = name in [tag.name for tag in plant.cvs]
        place = [tag.name for tag in (plant.cvs if is_cv else plant.mvs)].index(name)
        for outcome, color in ((usual, "C7"), (planned, "C0")):
            trace = outcome.trace
            ax.plot(trace.times, (trace.truth if is_cv else trace.mvs)[:, place], color=color, label=outcome.controller)
        if is_cv:
            ax.plot(trace.times, trace.setpoints[:, place], ":", color="C2", label="setpoint")
            ax.plot(trace.times, trace.low[:, place], "--", color="C3", lw=0.8, label="limit")
            ax.plot(trace.times, trace.high[:, place], "--", color="C3", lw=0.8)
        ax.set_ylabel(f"{name}\n{plant.tag(name).unit}", fontsize=7)
axes[0, 0].legend(fontsize=7)
plt.show()
