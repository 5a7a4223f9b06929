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
# # Patient: insulin, meals and a limit that must hold
#
# A simulated person with type 1 diabetes (Hovorka 2004). Meals raise glucose within the hour; insulin lowers it
# later, for longer, and cannot be taken back: the only brake is to have given less. Too low is dangerous within
# minutes, too high within years, so the low limit is hard.
#
# A simulation to show software. Nothing here is fit to treat anyone.

# %%
import json
from pathlib import Path

import pandas as pd

from twin.plants.practice import meals, operate
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
# Two weeks at a row each five minutes under pump therapy (basal rate, a bolus by counted carbohydrates that are
# miscounted by a third, corrections), with small test moves of the basal rate.

# %%
system = SYSTEMS["patient"]
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
# Insulin stays 6 mU/min higher. For the first half hour nothing shows.

# %%
simulator = Simulator(system.process, seed=8)
history = operate(simulator, system.practice(), 300, system.targets, system.tests, seed=8, events=meals(300, 300.0, 8))
now = history.frame().iloc[-1]
moves = {"insulin": [Step(0.0, now["insulin"] + 6.0)]}
answer = forecast(twin, history, 60 * plant.sample_period_s, [Scenario("what if", moves)])
(asked,) = answer.scenarios
came = simulator.run([[asked.moves[tag.name][k] for tag in plant.mvs] for k in range(60)]).frame()
doubts = [reason.detail for reason in asked.trust.reasons]
print(f"trust {asked.trust.score:.0%}", *doubts, sep="; ")

# %%
figures.what_if(history, answer, came, ["insulin", "glucose"])

# %% [markdown]
# ## Three objectives that training never knew
#
# A day of meals at 6 mmol/L; the least insulin that keeps a lean day below 9 mmol/L; a day at 7.5 mmol/L on which
# insulin begins to act a quarter more, as with exercise. Meals are known when they are eaten, not before.
#
# Where the planner abstains, it hands the plant back to the usual practice, as `twin control` does.

# %%
bodies = json.loads(Path("objectives/patient.json").read_text())
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
names = ["glucose", "insulin"]
figures.trials(outcomes, names, by=("twin", "usual practice"))
