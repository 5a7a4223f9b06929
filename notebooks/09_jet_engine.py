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
# # Jet engine: thrust between stall and heat
#
# A two-spool turbofan: fuel flow and stator vanes against both speeds, the gas temperature between the turbines, the
# compressor's stall margin, and thrust. A burst of fuel raises the pressure behind the compressor before the
# compressor has sped up, and that eats the stall margin; the vanes buy it back. Component relations after Walsh and
# Fletcher (2004); the sizes are of no real engine.

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
# Ten rows a second for some minutes: a thrust lever that moves, a vane controller on the stall margin, small test
# moves.

# %%
system = SYSTEMS["turbofan"]
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
# Fuel rises by 0.1 kg/s as fast as it may.

# %%
simulator = Simulator(system.process, seed=8)
history = operate(simulator, system.practice(), 300, system.targets, system.tests, seed=8)
now = history.frame().iloc[-1]
moves = {"fuel": [Step(0.0, now["fuel"] + 0.1)]}
answer = forecast(twin, history, 60 * plant.sample_period_s, [Scenario("what if", moves)])
(asked,) = answer.scenarios
came = simulator.run([[asked.moves[tag.name][k] for tag in plant.mvs] for k in range(60)]).frame()
doubts = [reason.detail for reason in asked.trust.reasons]
print(f"trust {asked.trust.score:.0%}", *doubts, sep="; ")

# %%
cvs = ["n2", "gas_temperature", "stall_margin", "thrust"]
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
# Thrust steps; the most thrust that a temperature limit and a stall margin allow, while the limit falls; fan speed
# with a wide stall margin, while the compressor fouls.
#
# Where the planner abstains, it hands the plant back to the usual practice, as `twin control` does.

# %%
bodies = json.loads(Path("objectives/turbofan.json").read_text())
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
names = ["thrust", "n1", "gas_temperature", "stall_margin", "fuel", "vanes"]
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
