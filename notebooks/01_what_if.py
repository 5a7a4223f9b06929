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
# # What if: a twin of four tanks
#
# Two pumps fill four tanks (Johansson 2000). Each pump feeds the lower tank on its side and the upper tank on the
# other, which drains into the other lower tank; so everything moves everything, at two speeds. A stream from
# elsewhere, measured but not ours, runs into tank 3. The twin learns all of this from telemetry alone.
#
# Four verbs: **upload**, **train**, **predict**, **optimize**.

# %%
import copy
import tempfile

import matplotlib.pyplot as plt
import pandas as pd

from twin.objective import Objective, Setpoint
from twin.optimize import plan
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.predict import Scenario, forecast
from twin.responses import step_responses
from twin.storage.batch import of_frame
from twin.store import Store
from twin.telemetry import Telemetry
from twin.timeline import Step
from twin.train import Options, fit

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3, "date.converter": "concise"})

# %% tags=["parameters"]
rows = 3000  # of the step test: about four hours
budget_s = 60.0  # that training may take

# %% [markdown]
# ## Upload
#
# An operator has moved the pumps over their range for some hours, fast and slow. The rows go to the store, and come
# back as telemetry on the plant's grid of 5 s.

# %%
simulator = Simulator(QuadrupleTank(), seed=7)
plant = simulator.plant
table = Store(tempfile.mkdtemp()).plant("four-tanks")
receipt = table.append(of_frame(simulator.excite(rows).frame()))
telemetry = Telemetry.from_frame(plant, table.read())
print(f"{receipt.rows_stored} rows stored, {receipt.rows_rejected} rejected; {plant.sample_period_s:g} s apart")

# %%
lower = ["level_1", "level_2"]
upper = ["level_3", "level_4"]
pumps = ["pump_1", "pump_2"]
hour = telemetry.last_run(720).frame()
fig, axes = plt.subplots(4, 1, figsize=(10, 8), sharex=True, layout="constrained")
for ax, names, label in zip(
    axes,
    (lower, upper, pumps, ["inflow_3"]),
    ("lower tanks, cm", "upper tanks, cm", "pumps, V", "inflow, mL/s"),
    strict=True,
):
    for name in names:
        ax.plot(hour.index, hour[name], label=name, lw=1, drawstyle="steps-pre" if name in pumps else "default")
    ax.set_ylabel(label)
    ax.legend(loc="upper right", ncols=2, fontsize=8)
axes[0].set_title("The last hour of the step test")
plt.show()

# %% [markdown]
# ## Train
#
# No option is needed; here only the time is bounded. The twin knows the plant's tags, its own scaler and how wide its
# bands must be.

# %%
twin = fit(telemetry, Options(budget_s=budget_s))
print(f"twin {twin.id}: needs {twin.min_history_rows} rows of history, forecasts {twin.horizon_s:g} s")

# %% [markdown]
# ### What it has learned: step responses
#
# What one volt more on a pump does to each level around the middle of what was seen. The near lower tank answers at
# once and the far one late, by way of the upper tank. The shade is a 90 % range over models that each missed a part
# of the telemetry.

# %%
responses = step_responses(twin)
minutes = [t / 60 for t in responses["times_s"]]
fig, axes = plt.subplots(2, 4, figsize=(12, 5), sharex=True, sharey=True, layout="constrained")
for line, pump in zip(axes, pumps, strict=True):
    for ax, level in zip(line, lower + upper, strict=True):
        response = responses["responses"][pump][level]
        ax.plot(minutes, response["mean"])
        ax.fill_between(minutes, response["low"], response["high"], alpha=0.25)
        ax.set_title(f"{pump} → {level}", fontsize=9)
for ax in axes[:, 0]:
    ax.set_ylabel("cm per V")
for ax in axes[-1]:
    ax.set_xlabel("minutes")
plt.show()

# %% [markdown]
# ## Predict
#
# Now the pumps stand still, and we ask what would happen if: pump 1 went up to 3.4 V; or, a minute from now, pump 2
# gave half a volt less while the inflow into tank 3 rose to 2 mL/s.

# %%
calm = simulator.run([[2.8, 2.6]] * 120)
more = Scenario("pump 1 up to 3.4 V", {"pump_1": [Step(0, 3.4)]})
less = Scenario("pump 2 down, inflow 2 mL/s", {"pump_2": [Step(60, 2.1)]}, {"inflow_3": [Step(60, 2.0)]})
answer = forecast(twin, calm, horizon_s=300, scenarios=[more, less])

# %% [markdown]
# The two scenarios side by side, each with the band in which nine of ten readings should fall if the inflow does as
# assumed; in grey what happens if nobody moves anything. The dots are the simulated plant itself: a copy of it makes
# the moves of the first scenario. Meanwhile its inflow wanders, which nobody could know at the start and tank 3 shows;
# dotted is the same forecast, told afterwards what the inflow did.

# %%
plant_copy = copy.deepcopy(simulator)
truth = plant_copy.run(pd.DataFrame(answer.scenarios[0].moves)[pumps].to_numpy()).frame()
came = [Step(k * plant.sample_period_s, value) for k, value in enumerate(truth["inflow_3"])]
hindsight = forecast(twin, calm, horizon_s=300, scenarios=[Scenario("hindsight", more.moves, {"inflow_3": came})])
past = calm.last_run(24).frame()
fig, axes = plt.subplots(4, 2, figsize=(11, 10), sharex=True, sharey="row", layout="constrained")
for column, scenario in zip(axes.T, answer.scenarios, strict=True):
    column[0].set_title(scenario.name)
    for ax, level in zip(column, lower + upper, strict=True):
        ax.plot(past.index, past[level], color="black", lw=1)
        ax.plot(answer.times, answer.baseline[level].mean, color="grey", ls="--", label="nothing moves")
        ax.plot(answer.times, scenario.cvs[level].mean, color="C0", label="forecast")
        ax.fill_between(
            answer.times, scenario.cvs[level].low, scenario.cvs[level].high, color="C0", alpha=0.25, label="90 %"
        )
        ax.set_ylabel(f"{level}, cm")
for ax, level in zip(axes[:, 0], lower + upper, strict=True):
    ax.plot(answer.times, hindsight.scenarios[0].cvs[level].mean, ":", color="C0", label="forecast, inflow known")
    ax.plot(truth.index, truth[level], ".", color="C3", ms=3, label="the plant")
axes[0, 0].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## Trust
#
# Each answer says how far to believe it. The forecasts above lie within what was seen. Then a request goes beyond
# it: an inflow of 4 mL/s, where the step test never had more than 3. And then the plant itself changes: a leak opens
# in tank 2, which nothing measures, and the rows after it are no longer like those the twin was trained on.

# %%
beyond = Scenario("inflow 4 mL/s", disturbances={"inflow_3": [Step(0, 4.0)]})
asked_too_much = forecast(twin, calm, horizon_s=300, scenarios=[beyond]).scenarios[0].trust
broken = copy.deepcopy(simulator)
broken.disturb(leak_2=0.4)
leaking = broken.run([[2.8, 2.6]] * 30)
changed = forecast(twin, Telemetry.from_frame(plant, pd.concat([calm.frame(), leaking.frame()])), horizon_s=300).trust
for case, trust in (
    ("pump 1 up", answer.scenarios[0].trust),
    ("inflow 4 mL/s", asked_too_much),
    ("a leak", changed),
):
    print(f"{case}: score {trust.score:.2f}, {'as seen before' if trust.in_distribution else 'not as seen before'}")
    for reason in trust.reasons:
        print(f"    {reason.code}: {reason.detail}")

# %% [markdown]
# ## Optimize
#
# Bring the lower tanks to 10 and 9 cm. The pumps' limits and rate limits hold exactly; the levels' limits are kept
# with a margin that their uncertainty asks for.

# %%
wanted = {"level_1": 10.0, "level_2": 9.0}
objective = Objective(setpoints={level: Setpoint(value) for level, value in wanted.items()})
answer = plan(twin, calm, objective, horizon_s=300)
print(f"{answer.status}: {answer.detail}")
print("next:", {pump: round(value, 3) for pump, value in answer.next.items()})

# %%
fig, (top, bottom) = plt.subplots(2, 1, figsize=(10, 6), sharex=True, layout="constrained")
for color, level in zip(("C0", "C1"), lower, strict=True):
    top.plot(past.index, past[level], color=color, lw=1)
    top.plot(answer.times, answer.cvs[level].mean, color=color, label=level)
    top.fill_between(answer.times, answer.cvs[level].low, answer.cvs[level].high, color=color, alpha=0.2)
    top.axhline(wanted[level], color=color, ls=":", lw=1)
for color, pump in zip(("C0", "C1"), pumps, strict=True):
    moves = pd.concat([past[pump], pd.Series(answer.moves[pump], answer.times)])
    bottom.step(moves.index, moves, color=color, label=pump, where="pre")
top.set_ylabel("cm")
bottom.set_ylabel("V")
top.set_title("The plan: forecast levels with their bands, and the pump moves that bring them there")
top.legend()
bottom.legend()
plt.show()

# %% [markdown]
# A plan is made anew each period, from the newest row: that is all there is to control.

# %%
history = calm.frame()
for _ in range(60):
    move = plan(twin, Telemetry.from_frame(plant, history.tail(120)), objective, horizon_s=300).next
    row = simulator.advance(move)
    history.loc[simulator.time] = row
fig, (top, bottom) = plt.subplots(2, 1, figsize=(10, 6), sharex=True, layout="constrained")
shown = history.tail(90)
for color, level, pump in zip(("C0", "C1"), lower, pumps, strict=True):
    top.plot(shown.index, shown[level], color=color, label=level)
    top.axhline(wanted[level], color=color, ls=":", lw=1)
    bottom.step(shown.index, shown[pump], color=color, label=pump, where="pre")
top.set_ylabel("cm")
bottom.set_ylabel("V")
top.set_title("Five minutes of control")
top.legend()
bottom.legend()
plt.show()
