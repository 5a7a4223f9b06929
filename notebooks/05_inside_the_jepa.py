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
# # Inside the JEPA
#
# The latent part of a twin learns by joint embedding: from a window of the past it predicts an *embedding* of what the
# CVs will do, not the CVs themselves. Left alone, such a network has a lazy optimum: embed everything as the same
# point, and predict that point without error. SIGReg (LeJEPA, 2025) forbids it: the embeddings of a batch must look
# like a standard normal along every direction. This notebook switches it off and on, and looks.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from twin.plants.quadruple_tank import QuadrupleTank
from twin.plants.simulator import Simulator
from twin.regularizers import COLLAPSED, GAUSSIAN, effective_rank, sigreg
from twin.scaling import Scaler
from twin.training.backbone import choose, select
from twin.training.folds import sizes, split
from twin.training.residual import Recipe, Trainer, alarms, latents
from twin.windows import Grid

plt.rcParams.update({"figure.dpi": 80, "axes.grid": True, "grid.alpha": 0.3})
jax.config.update("jax_numpy_dtype_promotion", "standard")

# %% tags=["parameters"]
rows = 3000
budget_s = 60.0

# %% [markdown]
# ## What is trained
#
# The quadruple tank, as in the first notebook. `fit` does all of this by itself; here the pieces lie open: the grid in
# model units, the blocks of the cross-fit, the linear backbone that validation prefers, and the trainer of the latent
# residual around it. Both runs below are *pure* JEPA (the readout sees the latent, but does not teach it), so that
# nothing but the regulariser stands between the embedding and its collapse.

# %%
telemetry = Simulator(QuadrupleTank(), seed=7).excite(rows)
grid = Grid.of(telemetry, Scaler.fit(telemetry))
folds = split(telemetry.run, *sizes(telemetry.run, 60))
*_, scores = select(grid, folds)
backbone = choose(scores, grid.y.shape[1], grid.w.shape[1])
steps = 25 * max(4, round(budget_s / 3))
recipes = {"without SIGReg": Recipe(pure=True, sigreg=0.0), "with SIGReg": Recipe(pure=True)}
runs = {}
for name, recipe in recipes.items():
    runs[name] = list(Trainer(grid, folds, backbone.fits, recipe, seed=0).run(steps))
    print(f"{name}, {steps} steps:", "; ".join(alarms(runs[name][-1].losses, recipe)) or "no alarm")

# %% [markdown]
# ## Collapse, shown and prevented
#
# Three numbers are watched during every training, and raise an alarm in the job's events. The SIGReg statistic is
# about 1.05 on a true standard normal whatever the batch, and 0.402 times the batch where everything is one point. The
# least deviation says whether a direction is dead. The effective rank alone would miss this collapse: a cloud that
# shrinks keeps its shape. Note the latent loss on the right: the collapsed run is *better* at its task, which is why
# that loss must not be trusted alone.

# %%
fig, axes = plt.subplots(1, 4, figsize=(14, 3.4), layout="constrained")
panels = (("sigreg", "SIGReg statistic"), ("rank", "effective rank"), ("least_deviation", "least deviation"))
for ax, (key, title) in zip(axes, (*panels, ("latent", "latent prediction loss")), strict=True):
    for (name, curve), style in zip(runs.items(), ("--", "-"), strict=True):
        ax.plot([e.step for e in curve[1:]], [e.losses[key] for e in curve[1:]], style, label=name)
    ax.set_title(title)
    ax.set_xlabel("training step")
for level, color, said in ((GAUSSIAN, "grey", "standard normal"), (COLLAPSED * Recipe().batch, "C3", "one point")):
    axes[0].axhline(level, color=color, lw=1)
    axes[0].annotate(said, (0.97, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", color=color)
axes[0].set_yscale("log")
axes[3].set_yscale("log")
axes[1].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## The embeddings themselves
#
# Eight rows of CVs at the end of each held-out horizon, embedded in 16 dimensions, seen along the two directions in
# which they vary most. Both panels have the same axes.

# %%
judged = Trainer(grid, folds, backbone.fits, Recipe(pure=True), seed=0).judged
models = {name: jax.tree.map(lambda leaf: leaf[0], curve[-1].residuals) for name, curve in runs.items()}
embedded = {name: np.asarray(model.target(judged.future.y[0, :, -8:])) for name, model in models.items()}
fig, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for ax, (name, e) in zip(axes, embedded.items(), strict=False):
    centred = e - e.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:2]
    ax.scatter(*(centred @ directions.T).T, c=np.asarray(judged.future.y[0, :, -1, 0]), s=12, cmap="viridis")
    ax.set(xlim=(-6, 6), ylim=(-6, 6), title=f"{name}: rank {float(effective_rank(e)):.1f}")
x = np.linspace(-4, 4, 200)
random = np.random.default_rng(0).standard_normal((16, 24))
for (_name, e), style in zip(embedded.items(), ({"alpha": 0.5}, {"alpha": 0.5}), strict=True):
    projected = e @ (random / np.linalg.norm(random, axis=0))
    axes[2].hist(projected.ravel(), np.linspace(-4, 4, 60), density=True, label=_name, **style)
axes[2].plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), "k", lw=1, label="standard normal")
axes[2].set(ylim=(0, 1.5), title="along 24 random directions")
axes[2].legend(fontsize=8)
plt.show()

# %% [markdown]
# ## What the latent knows
#
# The latent state rolled over the horizon of held-out windows, along its two leading directions, coloured by what the
# CVs were there. Nearby states have nearby levels: the latent is a map of the plant, though it was taught by
# predicting embeddings only. The last panel says how much of each CV a straight line reads from it, out of sample.

# %%
model, cases = models["with SIGReg"], jax.tree.map(lambda a: a[0], judged)
z = np.asarray(model.parts(jax.vmap(latents, in_axes=(None, 0))(model, cases))[0])  # features, without corrections
y = np.asarray(judged.future.y[0])
flat, levels = z.reshape(-1, z.shape[-1]), y.reshape(-1, y.shape[-1])
middle = flat.mean(axis=0)
plane = (flat - middle) @ np.linalg.svd(flat - middle, full_matrices=False)[2][:2].T
half = len(flat) // 2
fig, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
for ax, column, name in zip(axes, (0, 2), ("level_1", "level_3"), strict=False):
    shown = ax.scatter(*plane[::7].T, c=levels[::7, column], s=5, cmap="viridis")
    ax.set_title(f"{name}, in standard deviations")
    fig.colorbar(shown, ax=ax)
inputs = np.c_[flat, np.ones(len(flat))]
read = inputs @ np.linalg.lstsq(inputs[:half], levels[:half], rcond=None)[0]
share = 1 - ((read - levels)[half:] ** 2).mean(axis=0) / levels[half:].var(axis=0)
axes[2].bar([tag.name for tag in telemetry.plant.cvs], share)
axes[2].set(ylim=(0, 1), title="share of variance read linearly")
plt.show()

# %% [markdown]
# ## The family compared
#
# SIGReg is one way of several to keep embeddings apart. VICReg holds each dimension's variance up and its correlations
# with the others down. EMA lets a slow copy of the network make the targets, and stops the gradient there. InfoNCE
# pushes the futures of different windows apart. All run on the same rows, blocks and backbone for the same steps,
# pure. Collapse shows in the least deviation and in the SIGReg statistic; what the twin is for shows in the last panel:
# the error of its forecasts on held-out blocks, where 1 is the linear backbone alone. One plant and one seed tell
# little about small differences: `tests/benchmarks/family.py` has three plants and three seeds.

# %%
family = {"nothing": runs["without SIGReg"], "SIGReg": runs["with SIGReg"]}
for name, keeper in (("VICReg", "vicreg"), ("EMA", "ema"), ("InfoNCE", "infonce")):
    family[name] = list(Trainer(grid, folds, backbone.fits, Recipe(pure=True, keeps=keeper), seed=0).run(steps))
found = {}
for name, curve in family.items():
    e = jax.tree.map(lambda leaf: leaf[0], curve[-1].residuals).target(judged.future.y[0, :, -8:])
    found[name] = {
        "least deviation": float(e.std(axis=0).min()),
        "effective rank, of 16": float(effective_rank(e)),
        "SIGReg statistic": float(sigreg(e, np.asarray(random, np.float32))),
        "out-of-fold error": curve[-1].out_of_fold,
    }
table = pd.DataFrame(found).T
table.round(3)

# %%
fig, axes = plt.subplots(1, 4, figsize=(13, 2.8), sharey=True, layout="constrained")
for ax, column in zip(axes, table, strict=True):
    bars = ax.barh(table.index, table[column], color=["C3", "C0", "C7", "C7", "C7"])
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    ax.set_title(column, fontsize=10)
    ax.margins(x=0.2)
axes[0].invert_yaxis()
axes[2].set_xscale("log")
axes[2].axvline(GAUSSIAN, color="grey", lw=1)
axes[3].axvline(1.0, color="grey", lw=1)
plt.show()
