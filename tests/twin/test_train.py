"""fit, on plants whose equations are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from twin import artifact, train
from twin.dynamics.ensemble import jepas
from twin.dynamics.lti import arx
from twin.errors import Cancelled, TrainingError
from twin.inheritance import Inheritance
from twin.plant import Plant, Role, Tag
from twin.rollout import rollout
from twin.scaling import Scaler
from twin.telemetry import Telemetry
from twin.train import Options, fit
from twin.training.folds import COUNT, split
from twin.training.pace import Pace, Progress
from twin.training.residual import CHUNK, KEEPERS, Cases, Draw, Evaluation, Recipe, Trainer, _steps, alarms, loss
from twin.training.signs import FLOOR
from twin.ways import trained_on
from twin.windows import Grid

PLANT = Plant("Curved", 5.0, (Tag("valve", Role.MV), Tag("spare", Role.MV), Tag("level", Role.CV)))
QUICK = Options(budget_s=1e-3)  # stops before the first training step: the backbone alone


def _telemetry(rows: int, runs: int = 1, curvature: float = 0.0, seed: int = 9) -> Telemetry:
    """level_t = 0.8 level + 0.2 (valve + curvature · valve²), in runs an hour apart; the spare valve never moves."""
    rng = np.random.default_rng(seed)
    valve = np.repeat(rng.uniform(-1, 1, rows // 6 + 1), 6)[:rows]
    level = np.zeros(rows)
    for t in range(1, rows):
        level[t] = 0.8 * level[t - 1] + 0.2 * (valve[t] + curvature * valve[t] ** 2)
    level += 0.01 * rng.standard_normal(rows)
    run = np.arange(rows) * runs // rows
    seconds = 5.0 * np.arange(rows) + 3600.0 * run
    index = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(seconds, unit="s")
    return Telemetry.from_frame(PLANT, pd.DataFrame({"valve": valve, "spare": 3.0, "level": level}, index=index))


@pytest.fixture(scope="module")
def linear() -> train.Twin:
    return fit(_telemetry(600), QUICK)


def test_a_linear_plant_gets_its_gain(linear: train.Twin) -> None:
    scaler, window = linear.scaler, linear.reference
    hold = jnp.zeros((200, 2))
    steps = [rollout(linear.dynamics, linear.dynamics.encode(window), hold.at[:, 0].set(level)) for level in (0.0, 1.0)]
    gain = float(steps[1][-1, 0] - steps[0][-1, 0]) * scaler.y_scale[0] / scaler.w_scale[0]
    assert gain == pytest.approx(1.0, rel=0.05)


def test_an_mv_that_never_moved_trains_and_is_named(linear: train.Twin) -> None:
    assert list(linear.card["unknown_effects"]) == ["spare"]
    window = linear.reference
    moved = [
        rollout(linear.dynamics, linear.dynamics.encode(window), jnp.zeros((60, 2)).at[:, 1].set(level))
        for level in (0.0, 2.0)
    ]
    np.testing.assert_allclose(moved[0], moved[1], atol=1e-5)


def test_the_card_says_what_was_chosen_and_why(linear: train.Twin) -> None:
    training = linear.card["training"]
    errors = [c["error"] for c in training["backbone"]["candidates"]]
    assert errors == sorted(errors)
    assert training["backbone"]["error"] <= 1.01 * errors[0]
    assert not training["residual"]["ships"]
    assert (training["stopping_step"], training["stopped_by"]) == (0, "time")
    assert sum(training["folds"]) == 600
    assert (training["correction"]["share"], training["correction"]["outside"]) == linear.correction
    assert training["correction"]["errors"][0] == 1.0


def test_a_plant_whose_law_is_a_polynomial_gets_one(linear: train.Twin, tmp_path: Path) -> None:
    """At rest the level is valve + 2 valve²; at the two ends no linear model comes near both."""
    twin = fit(_telemetry(800, curvature=2.0), QUICK)
    told = twin.card["training"]["polynomial"]
    assert told["ships"]
    assert told["of_linear"] < 0.5
    artifact.save(twin, tmp_path / "twin")
    scaler = twin.scaler
    for dynamics in (twin.dynamics, artifact.load(tmp_path / "twin").dynamics):
        for valve in (-0.8, 0.8):
            w = scaler.w_in(np.tile([valve, 3.0], (100, 1)))
            rest = scaler.y_out(np.asarray(rollout(dynamics, dynamics.encode(twin.reference), w)))[-1, 0]
            assert rest == pytest.approx(valve + 2 * valve**2, abs=0.05)
    assert not linear.card["training"]["polynomial"]["ships"]


def test_few_rows_shrink_the_windows_and_runs_are_not_crossed() -> None:
    twin = fit(_telemetry(200, runs=2), QUICK)
    assert 8 <= twin.history < 32
    assert 8 <= twin.horizon < 60
    assert twin.dynamics.members == COUNT


def test_too_few_rows_are_refused_with_what_is_needed() -> None:
    with pytest.raises(TrainingError, match=r"90 in 1 run.*at least 128 rows"):
        fit(_telemetry(90), QUICK)


def test_a_cv_without_a_value_is_refused_by_name() -> None:
    telemetry = _telemetry(300)
    telemetry.values[:, 2] = np.nan
    with pytest.raises(TrainingError, match="level"):
        fit(telemetry, QUICK)


@pytest.mark.parametrize("tag", [0, 1])
def test_an_input_without_a_value_is_refused_by_name(tag: int) -> None:
    telemetry = _telemetry(300)
    telemetry.values[:, tag] = np.nan
    with pytest.raises(TrainingError, match=rf"no measured value of {telemetry.plant.names[tag]}: upload some"):
        fit(telemetry, QUICK)


def test_cvs_that_never_moved_are_refused_by_name() -> None:
    telemetry = _telemetry(300)
    telemetry.values[:, 2] = 7.3
    with pytest.raises(TrainingError, match="level never moved"):
        fit(telemetry, QUICK)


def test_a_cv_that_one_block_alone_shows_is_refused_with_its_span() -> None:
    """Of four blocks of 200 rows the last is all that the member learns nothing from."""
    telemetry = _telemetry(800)
    telemetry.values[:650, 2] = np.nan
    first, last = telemetry.times[[650, 799]].astype("datetime64[s]")
    with pytest.raises(TrainingError, match=f"from {first} to {last} alone"):
        fit(telemetry, QUICK)


def test_a_dv_that_the_first_run_is_without_trains_to_a_twin_that_can_be_stored(tmp_path: Path) -> None:
    telemetry = _telemetry(600, runs=2)
    valve, spare, level = PLANT.tags
    telemetry = replace(telemetry, plant=Plant("Curved", 5.0, (valve, replace(spare, role=Role.DV), level)))
    telemetry.values[:, 1] = np.random.default_rng(0).standard_normal(600)
    telemetry.values[telemetry.run == 0, 1] = np.nan
    twin = fit(telemetry, QUICK)
    artifact.save(twin, tmp_path / "twin")
    assert artifact.load(tmp_path / "twin").card["disturbances"] == twin.card["disturbances"]


def test_progress_can_cancel() -> None:
    def stop(progress: Progress) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        fit(_telemetry(300), QUICK, stop)


@pytest.fixture(scope="module")
def curved() -> tuple[Trainer, list[Evaluation], list[Evaluation]]:
    """Two trainings, from one seed, around the true linear part of a plant with a strong quadratic."""
    telemetry = _telemetry(800, curvature=2.0)
    grid = Grid.of(telemetry, Scaler.fit(telemetry))
    folds = split(grid.run, 8, 16)
    slope = 0.2 * Scaler.fit(telemetry).w_scale[0] / Scaler.fit(telemetry).y_scale[0]
    truth = arx(np.array([[[0.8]]]), np.array([[[slope, 0.0]]]), np.zeros(1), 8)
    trainer = Trainer(grid, folds, (truth,) * COUNT, Recipe(), seed=0)
    return trainer, list(trainer.run(16 * CHUNK)), list(trainer.run(2 * CHUNK))


def test_the_residual_learns_what_the_backbone_misses(curved: tuple[Trainer, list[Evaluation], list]) -> None:
    _, evaluations, _ = curved
    assert evaluations[0].out_of_fold == 1.0
    assert min(e.out_of_fold for e in evaluations) < 0.6


def test_the_same_seed_gives_the_same_weights(curved: tuple[Trainer, list[Evaluation], list[Evaluation]]) -> None:
    _, first, again = curved
    for a, b in zip(jax.tree.leaves(first[2].residuals), jax.tree.leaves(again[2].residuals), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_better_of_an_earlier_residual_and_a_fresh_one_is_kept(
    curved: tuple[Trainer, list[Evaluation], list[Evaluation]],
) -> None:
    trainer, evaluations, _ = curved
    good = evaluations[-1].residuals
    bad = jax.tree.map(lambda leaf: 3.0 * leaf, good)
    scaler = Scaler.fit(_telemetry(800, curvature=2.0))
    for start, kept in ((good, "warm"), (bad, "fresh")):
        ticks = iter(range(1000))
        pace = Pace(6.0, 0.0, lambda _: None, lambda ticks=ticks: float(next(ticks)))
        inherited = Inheritance("before", scaler, 8, 16, np.zeros(800, int), start)
        (curve, best, _, _), told = trained_on(trainer, Recipe(), pace, inherited)
        assert told["start"]["kept"] == kept
        assert best.out_of_fold == min(told["start"]["out_of_fold"].values())
        if kept == "warm":
            assert told["start"]["before"] == pytest.approx(evaluations[-1].out_of_fold, rel=1e-3)
            assert curve[0]["out_of_fold"] == told["start"]["before"]


def test_the_embeddings_do_not_collapse(curved: tuple[Trainer, list[Evaluation], list]) -> None:
    trainer, evaluations, _ = curved
    assert alarms(evaluations[-1].losses, trainer.recipe) == ()
    assert alarms({"sigreg": 0.402 * trainer.recipe.batch, "rank": 1.0, "least_deviation": 0.0}, trainer.recipe)


@pytest.fixture(scope="module")
def batch(curved: tuple[Trainer, list, list]) -> tuple[Trainer, Cases, Draw]:
    trainer = curved[0]
    rng = np.random.default_rng(0)
    draw = Draw(np.arange(4), np.array([0, 3]), rng.standard_normal((16, 24)).astype(np.float32))
    return trainer, jax.tree.map(lambda a: a[0, :32], trainer.pool), draw


def test_the_readout_loss_of_a_start_is_the_backbones(batch: tuple[Trainer, Cases, Draw]) -> None:
    trainer, cases, draw = batch
    model = jax.tree.map(lambda a: a[0], jepas(trainer.sizes, 1, seed=0))
    _, losses = loss(model, cases, trainer.weight, draw, Recipe())
    expected = (np.asarray(trainer.weight)[None] * (np.asarray(cases.y_lin) - np.asarray(cases.future.y)) ** 2).mean()
    assert float(losses.readout) == pytest.approx(float(expected), rel=1e-4)


def test_only_a_wrong_sign_costs_and_by_how_far_it_is_from_the_backbones(batch: tuple[Trainer, Cases, Draw]) -> None:
    trainer, cases, draw = batch
    model = jax.tree.map(lambda a: a[0], jepas(trainer.sizes, 1, seed=0))  # its readout adds nothing
    lag = arx(np.array([[[0.8]]]), np.array([[[0.2, 0.0]]]), np.zeros(1), 8)
    push = np.zeros((32, 2), np.float32)
    push[:, 0] = np.where(np.arange(32) % 2, 0.5, -0.5)

    def cost(sign: float) -> float:
        steps = jax.tree.map(lambda a: a[0], _steps((lag,), np.array([[sign], [np.nan]]), 16))
        draws = draw._replace(push=jnp.asarray(push))
        gradient, losses = jax.grad(loss, has_aux=True)(model, cases, trainer.weight, draws, Recipe(), None, steps)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
        return float(losses.signs)

    assert cost(1.0) == 0.0
    assert cost(np.nan) == 0.0
    late = 1 - 0.8 ** np.arange(13, 17)  # the step response over the last quarter
    weight = np.asarray(trainer.weight)[-4:, 0]
    assert cost(-1.0) == pytest.approx((weight * ((1 + 2 * FLOOR) * late) ** 2).mean(), rel=1e-3)
    assert cost(0.0) == pytest.approx((weight * late**2).mean(), rel=1e-3)


def test_pure_jepa_keeps_the_readout_out_of_encoder_and_predictor(batch: tuple[Trainer, Cases, Draw]) -> None:
    trainer, cases, draw = batch
    model = jax.tree.map(lambda a: a[0], jepas(trainer.sizes, 1, seed=0))
    model.g2.kernel[...] = model.g2.kernel[...].at[:, -trainer.sizes.cvs :].set(1.0)

    def encoder_gradient(recipe: Recipe) -> float:
        gradient = jax.grad(lambda m: loss(m, cases, trainer.weight, draw, recipe)[0])(model)
        return float(jnp.abs(gradient.f2.kernel[...]).max())

    alone = Recipe(latent=0.0, sigreg=0.0)
    assert encoder_gradient(alone) > 1e-3
    assert encoder_gradient(Recipe(latent=0.0, sigreg=0.0, pure=True)) == 0.0


@pytest.mark.parametrize("recipe", [Recipe(keeps=k) for k in KEEPERS] + [Recipe(target="both", inverse=1.0)])
def test_each_member_of_the_family_trains_what_it_should(batch: tuple[Trainer, Cases, Draw], recipe: Recipe) -> None:
    """Only EMA's target encoder gets no gradient from the latent prediction; the others' is finite and not zero."""
    trainer, cases, draw = batch
    sizes = replace(trainer.sizes, target=recipe.target, inverse=recipe.inverse > 0)
    model = jax.tree.map(lambda a: a[0], jepas(sizes, 1, seed=0))
    width = sizes.embedding * (2 if recipe.target == "both" else 1)
    rng = np.random.default_rng(1)
    draw = draw._replace(
        directions=rng.standard_normal((width, 24)).astype(np.float32),
        normal=rng.standard_normal((32, width)).astype(np.float32),
    )
    gradient, losses = jax.grad(loss, has_aux=True)(model, cases, trainer.weight, draw, recipe, model)
    size = float(jnp.abs(gradient.t1.kernel[...]).max())
    assert np.isfinite(size)
    assert (size == 0.0) == (recipe.keeps == "ema")
    assert (float(losses.inverse) > 0) == (recipe.inverse > 0)


def test_the_inputs_between_two_latents_are_their_mean(batch: tuple[Trainer, Cases, Draw]) -> None:
    """A head that answers 0 is wrong by the mean square of the inputs' means between target rows."""
    trainer, cases, draw = batch
    recipe = Recipe(inverse=1.0, targets=3)
    model = jax.tree.map(lambda a: a[0], jepas(replace(trainer.sizes, inverse=True), 1, seed=0))
    model.i.kernel[...] = jnp.zeros_like(model.i.kernel[...])
    _, losses = loss(model, cases, trainer.weight, draw, recipe)
    w = np.asarray(cases.future.w)  # 16 rows; targets stand at rows 5, 10 and 15, counted from 0
    means = [w[:, first : first + 5].mean(axis=1) for first in (6, 11)]
    assert float(losses.inverse) == pytest.approx(float(np.mean(np.square(means))), rel=1e-4)
