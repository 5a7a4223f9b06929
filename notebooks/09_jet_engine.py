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
# Ten rows a second for some minutes: a thrust lever that moves, a vane controller on the stall margin, small test
# moves.

# %%
system = SYSTEMS["turbofan"]
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
figures.what_if(history, answer, came, ["fuel", "n2", "gas_temperature", "stall_margin", "thrust"])

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
figures.trials(outcomes, names, by=("twin", "usual practice"))
