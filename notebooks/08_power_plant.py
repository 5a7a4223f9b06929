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
# # Power plant: drum boiler and turbine
#
# Fuel, steam and feedwater valves against pressure, power and the level in the drum (Bell and Åström 1987). The level
# integrates, and it swells at first when it is about to fall: what a level controller sees in the first seconds is
# the wrong way round.

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
# Half a day at a row each ten seconds, under a boiler's three PI loops, with load changes and small test moves.

# %%
system = SYSTEMS["boiler-turbine"]
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
# The turbine's valve opens by a tenth. Power rises at once and then falls back as the pressure does; the drum swells
# before it empties.

# %%
simulator = Simulator(system.process, seed=8)
history = operate(simulator, system.practice(), 300, system.targets, system.tests, seed=8)
now = history.frame().iloc[-1]
moves = {"steam": [Step(0.0, now["steam"] + 0.1)]}
answer = forecast(twin, history, 60 * plant.sample_period_s, [Scenario("what if", moves)])
(asked,) = answer.scenarios
came = simulator.run([[asked.moves[tag.name][k] for tag in plant.mvs] for k in range(60)]).frame()
doubts = [reason.detail for reason in asked.trust.reasons]
print(f"trust {asked.trust.score:.0%}", *doubts, sep="; ")

# %%
figures.what_if(history, answer, came, ["steam", "pressure", "power", "level"])

# %% [markdown]
# ## Three objectives that training never knew
#
# Load steps at constant pressure; a load at the least fuel, with the pressure free to slide; the most power that a
# limited fuel flow gives.
#
# Where the planner abstains, it hands the plant back to the usual practice, as `twin control` does.

# %%
bodies = json.loads(Path("objectives/boiler-turbine.json").read_text())
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
names = ["power", "pressure", "level", "fuel", "steam", "feedwater"]
figures.trials(outcomes, names, by=("twin", "usual practice"))
