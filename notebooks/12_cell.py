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
# # Cell: steering a genetic toggle switch
#
# Two repressors hold each other down; two inducers in the medium free them (Lugagne et al. 2017). Left alone, a cell
# falls to one side and stays there. Which phenotype a culture shows, or whether it is held between both, is a control
# problem with hours of delay.

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
# Two weeks at a row each five minutes in a culture whose inducers two PI loops move, with test doses on top.

# %%
system = SYSTEMS["toggle-switch"]
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
# IPTG rises by 0.1 mmol/L.

# %%
simulator = Simulator(system.process, seed=8)
history = operate(simulator, system.practice(), 300, system.targets, system.tests, seed=8)
now = history.frame().iloc[-1]
moves = {"iptg": [Step(0.0, min(now["iptg"] + 0.1, 0.6))]}
answer = forecast(twin, history, 60 * plant.sample_period_s, [Scenario("what if", moves)])
(asked,) = answer.scenarios
came = simulator.run([[asked.moves[tag.name][k] for tag in plant.mvs] for k in range(60)]).frame()
doubts = [reason.detail for reason in asked.trust.reasons]
print(f"trust {asked.trust.score:.0%}", *doubts, sep="; ")

# %%
figures.what_if(history, answer, came, ["iptg", "laci", "tetr"])

# %% [markdown]
# ## Three objectives that training never knew
#
# From one phenotype to the other; balanced between both while the culture begins to grow faster; the least inducer
# that keeps the product up.
#
# Where the planner abstains, it hands the plant back to the usual practice, as `twin control` does.

# %%
bodies = json.loads(Path("objectives/toggle-switch.json").read_text())
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
names = ["laci", "tetr", "atc", "iptg"]
figures.trials(outcomes, names, by=("twin", "usual practice"))
