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
# Eleven hours at a row each ten seconds: zone and strip temperature controllers, a speed that follows the order book,
# coils of varying thickness, small test moves.

# %%
system = SYSTEMS["annealing-line"]
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
figures.what_if(history, answer, came, ["speed", "zone_3", "strip", "output"])

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
figures.trials(outcomes, names, by=("twin", "usual practice"))
