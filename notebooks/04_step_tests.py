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
# # Step tests, and what a table can show
#
# A twin can only know an effect that the telemetry shows. Here the plant ran under control, with one pump never
# touched by hand; the verdict on each effect says what is missing, a step test is designed within limits, carried out
# on the simulated plant, and the verdicts are read again.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from twin.identifiability import identifiability
from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.responses import step_responses
from twin.steptest import design
from twin.telemetry import Telemetry
from twin.train import Options, fit

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3, "date.converter": "concise"})

# %% tags=["parameters"]
rows = 3000
budget_s = 60.0

# %% [markdown]
# ## Routine operation
#
# Pump 1 follows level 1, as a controller would have it. Pump 2 stands still.

# %%
simulator = Simulator(QuadrupleTank(), seed=3)
plant = simulator.plant
pumps, levels = ["pump_1", "pump_2"], ["level_1", "level_2", "level_3", "level_4"]
records = {}
level = 12.4
for k in range(rows // 2):
    wanted = 12.0 + 1.0 * np.sign(np.sin(k / 120))
    records[simulator.time + pd.Timedelta(seconds=5)] = row = simulator.advance(
        {"pump_1": 3.0 + 0.25 * (wanted - level), "pump_2": 2.8}
    )
    level = row["level_1"]
routine = Telemetry.from_frame(plant, pd.DataFrame.from_dict(records, orient="index"))
before = fit(routine, Options(budget_s=budget_s))
verdicts = {"routine operation": identifiability(before, routine)}
for mv, verdict in verdicts["routine operation"]["mvs"].items():
    print(f"{mv}: {verdict['verdict']}", *(reason["detail"] for reason in verdict["reasons"]), sep="\n   ")

# %% [markdown]
# ## A test
#
# Generalised binary noise: both pumps switch between two levels at random times, a few settling times long, never
# leaving their limits or rates, independent of each other.

# %%
present = {pump: float(records[simulator.time][pump]) for pump in pumps}
test = design(plant, present, simulator.time, settling_s=300.0, length_s=7200.0, amplitude=dict.fromkeys(pumps, 0.4))
print(f"correlation between the two pumps: {test.correlation:.2f}")
moves = pd.DataFrame({pump: test.moves[pump] for pump in pumps}, index=test.times)
tested = simulator.run(moves.to_numpy())

# %%
seen = tested.frame()
fig, axes = plt.subplots(2, 1, figsize=(11, 5), sharex=True, layout="constrained")
for pump in pumps:
    axes[0].step(seen.index, seen[pump], where="pre", label=pump)
for name in levels:
    axes[1].plot(seen[name], lw=1, label=name)
axes[0].set_ylabel("V")
axes[1].set_ylabel("cm")
axes[0].set_title("The step test: two hours, both pumps at once")
for ax in axes:
    ax.legend(loc="upper right", ncols=4, fontsize=8)
plt.show()

# %% [markdown]
# ## What is known now

# %%
together = Telemetry.from_frame(plant, pd.concat([routine.frame(), tested.frame()]))
after = fit(together, Options(budget_s=budget_s))
verdicts["with the step test"] = identifiability(after, together)
score = {"identifiable": 2, "weak": 1, "unidentifiable": 0}
fig, axes = plt.subplots(1, 2, figsize=(11, 2.8), layout="constrained")
for ax, (title, found) in zip(axes, verdicts.items(), strict=True):
    table = pd.DataFrame({mv: {cv: e["verdict"] for cv, e in of.items()} for mv, of in found["effects"].items()})
    ax.imshow(table.T.map(score.get), cmap="RdYlBu", vmin=-0.5, vmax=2.5, aspect="auto")
    for i, mv in enumerate(pumps):
        for j, cv in enumerate(levels):
            ax.text(j, i, table.loc[cv, mv], ha="center", va="center", fontsize=8)
    ax.set_xticks(range(4), levels)
    ax.set_yticks(range(2), pumps)
    ax.set_title(title)
    ax.grid(visible=False)
plt.show()

# %% [markdown]
# The gains of both twins with their ranges (each member missed a part of the telemetry), beside the plant's own: what a
# copy of it does within the twin's horizon of five minutes, with and without a step. A pump that never moved has no
# gain: *unknown* is the honest answer.

# %%
answers = {"routine operation": step_responses(before), "with the step test": step_responses(after)}
calm, step = np.full((460, 2), 2.8), 0.3
still = Simulator(QuadrupleTank(), seed=1).run(calm).frame()[levels].iloc[-1]
fig, axes = plt.subplots(1, 2, figsize=(11, 3.5), sharey=True, layout="constrained")
for i, (ax, pump) in enumerate(zip(axes, pumps, strict=True)):
    raised = calm.copy()
    raised[400:, i] += step
    moved = Simulator(QuadrupleTank(), seed=1).run(raised).frame()[levels].iloc[-1]
    ax.plot(range(4), (moved - still) / step, "k_", ms=30, label="the plant")
    for shift, (title, found) in zip((-0.15, 0.15), answers.items(), strict=True):
        gains = [found["gains"][pump][name] for name in levels]
        known = [(j, gain) for j, gain in enumerate(gains) if gain is not None]
        mean, low, high = (np.array([gain[side] for _, gain in known]) for side in ("mean", "low", "high"))
        places = np.array([j for j, _ in known]) + shift
        ax.errorbar(places, mean, [mean - low, high - mean], fmt="o", capsize=4, label=title)
    ax.set_xticks(range(4), levels)
    ax.set_title(pump)
axes[0].set_ylabel("gain, cm per V")
axes[0].legend(fontsize=8)
plt.show()
