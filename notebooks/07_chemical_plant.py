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
# # Chemical plant: a gas and liquid reactor with a purge
#
# Gases A, B and C enter, A and C react to a liquid product D, and B is inert: it leaves with the purge or it piles up
# and the pressure rises. Every kmol of A and C that leaves with it is money. This is Ricker's reduction (1993) of the
# Tennessee Eastman challenge; the level of the liquid stays with its own controller.

# %%
import json
from pathlib import Path

import pandas as pd

from twin.plants.practice import operate
from twin.plants.simulator import Simulator
from twin.plants.systems import SYSTEMS
from twin.predict import Scenario, forecast
from twin.sandbox import figures
from twin.sandbox.loop import Hold, Planner, run
from twin.sandbox.practice import UsualPractice
from twin.sandbox.scenario import Scenario as Trial
from twin.timeline import Step
from twin.train import Options, fit

# %matplotlib inline

# %% tags=["parameters"]
rows = 4000
budget_s = 60.0

# %% [markdown]
# ## What a historian holds
#
# Nearly seventeen days at a row each six minutes: PI loops hold product flow, pressure and composition while
# operators move their setpoints, and small test moves lie on top, without which nobody could tell what a valve does
# from what its controller did.

# %%
system = SYSTEMS["gas-liquid-reactor"]
plant = system.process.plant
telemetry = system.telemetry(rows, seed=7)
figures.recorded(telemetry.last_run(400))

# %%
twin = fit(telemetry, Options(budget_s=budget_s))
card = twin.card
print(f"{card['training']['backbone']['name']}, residual ships: {card['training']['residual']['ships']}")

# %% [markdown]
# ## What if?
#
# The purge valve closes by ten points. Pressure rises over hours, less is lost. Grey is what would happen anyway,
# blue what the twin expects, dots are what the plant then did.

# %%
simulator = Simulator(system.process, seed=8)
history = operate(simulator, system.practice(), 300, system.targets, system.tests, seed=8)
now = history.frame().iloc[-1]
moves = {"purge": [Step(0.0, now["purge"] - 10.0)]}
answer = forecast(twin, history, 60 * plant.sample_period_s, [Scenario("what if", moves)])
(asked,) = answer.scenarios
came = simulator.run([[asked.moves[tag.name][k] for tag in plant.mvs] for k in range(60)]).frame()
doubts = [reason.detail for reason in asked.trust.reasons]
print(f"trust {asked.trust.score:.0%}", *doubts, sep="; ")

# %%
figures.what_if(history, answer, came, ["purge", "product", "pressure", "a_in_purge", "cost"])

# %% [markdown]
# ## Three objectives that training never knew
#
# Production steps; then product at the least loss, which no loop was ever tuned for; then as much product as a low
# pressure allows. They are plain JSON.
#
# Where the planner abstains, it hands the plant back to the usual practice, as `twin control` does.

# %%
bodies = json.loads(Path("objectives/gas-liquid-reactor.json").read_text())
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
names = ["product", "pressure", "a_in_purge", "cost", "feed_1", "feed_2", "purge"]
figures.trials(outcomes, names, by=("twin", "usual practice"))
