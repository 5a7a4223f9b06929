"""Sites with the common model of a fleet: what they send, what they keep, and what they are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from twin.errors import ArtifactError, FederationError, QuestionError
from twin.federation.artifact import Consensus, load, save
from twin.federation.consensus import Rule
from twin.federation.rounds import Policy, Standing, advance
from twin.federation.site import Asked, Privacy, Site
from twin.federation.telemetry import resampled
from twin.federation.updates import Update
from twin.fleet.common import Common, Unit
from twin.fleet.shape import Shape
from twin.plant import Plant, Role, Tag
from twin.telemetry import Telemetry

PERIOD_S = 10.0
START = pd.Timestamp("2026-01-01T00:00:00Z")
SHAPE = Shape(("valve",), (), ("level",), ("%", "m"), PERIOD_S, history=8, horizon=6, lags=1, input_rows=1)


def telemetry(gain: float, seed: int, rows: int = 300, names: tuple[str, str] = ("valve", "level")) -> Telemetry:
    """level' = 0.8 level + gain · valve, with a little noise."""
    rng = np.random.default_rng(seed)
    valve = np.repeat(rng.uniform(-1, 1, rows // 10 + 1), 10)[:rows]
    level = np.zeros(rows)
    for row in range(1, rows):
        level[row] = 0.8 * level[row - 1] + gain * valve[row]
    plant = Plant(f"site {seed}", PERIOD_S, (Tag(names[0], Role.MV, "%"), Tag(names[1], Role.CV, "m")))
    times = START.to_datetime64() + np.arange(rows) * np.timedelta64(10, "s")
    values = np.column_stack([valve, level + 0.01 * rng.standard_normal(rows)])
    return Telemetry(plant, times.astype("datetime64[ns]"), values, np.zeros(rows, np.int64))


def site(name: str, gain: float, seed: int, **more: object) -> Site:
    return Site(name, Common.fresh(SHAPE), Unit.of(SHAPE, telemetry(gain, seed)), **more)


def asked(rule: Rule, number: int = 0, sites: int = 2, steps: int = 0) -> Asked:
    return Asked(number, rule, sites, steps)


@pytest.mark.parametrize("name", ["fedavg", "fedprox", "easgd"])
def test_two_sites_agree_on_a_model_that_forecasts_both(name: str):
    rule = Rule(name, rho=0.01)
    sites = [site("a", 0.2, 1), site("b", 0.4, 2)]
    standing = Standing(0, Common.fresh(SHAPE).vector().astype(np.float64))
    losses = []
    for _ in range(12):
        updates = [one.answer(standing.consensus, asked(rule, standing.round)) for one in sites]
        standing, record = advance(standing, updates, Policy(("a", "b"), rule, "mean"))
        losses.append(record.loss)
    # in units scaled by each site's own deviations both plants are one and the same: 0.8 and 0.2 / std
    assert losses[-1] < 0.2 * losses[0]
    found = Common.fresh(SHAPE).from_vector(standing.consensus)
    assert float(found.parameters.linear[0, 0]) == pytest.approx(0.8, abs=0.05)


def test_with_easgd_a_site_keeps_parameters_of_its_own_and_without_it_none():
    consensus = Common.fresh(SHAPE).vector()
    elastic, plain = site("a", 0.2, 1), site("a", 0.2, 1)
    update = elastic.answer(consensus, asked(Rule("easgd", beta=0.5)))
    plain.answer(consensus, asked(Rule("fedavg")))
    np.testing.assert_allclose(elastic.own, consensus + 0.75 * update.change, atol=1e-6)  # α = 0.5 / 2
    assert plain.own is None


def test_privacy_bounds_what_is_sent_hides_rows_and_loss_and_is_used_up():
    private = site("a", 0.2, 1, privacy=Privacy(clip=0.01, noise=20.0, epsilon=1.0), secret=0)
    consensus = Common.fresh(SHAPE).vector()
    plain = site("a", 0.2, 1).answer(consensus, asked(Rule("fedavg")))
    update = private.answer(consensus, asked(Rule("fedavg")))
    assert np.isnan(update.loss)
    assert update.rows == 0
    # the noise, 0.2 a coordinate, drowns a change of length 0.01
    assert update.change.std() == pytest.approx(0.2, rel=0.05)
    assert np.linalg.norm(plain.change) > 0.01
    assert private.spent == pytest.approx(2 / 20.0**2)
    assert private.epsilon <= 1.0
    private.spent *= 10_000
    with pytest.raises(FederationError, match="a: its privacy is used up"):
        private.answer(consensus, asked(Rule("fedavg")))


def test_a_site_that_tells_no_rows_weighs_as_the_others_do():
    """Two changes of one length and direction each, of 300 rows and of some that are not told."""
    updates = [Update("a", np.array([1.0, 0.0]), 300, 1.0, 0), Update("b", np.array([0.0, 1.0]), 0, np.nan, 0)]
    standing, _ = advance(Standing(0, np.zeros(2)), updates, Policy(("a", "b"), Rule("fedavg"), "mean"))
    np.testing.assert_allclose(standing.consensus, [0.5, 0.5])


def test_what_was_sent_without_noise_cannot_be_made_private():
    one, consensus = site("a", 0.2, 1), Common.fresh(SHAPE).vector()
    one.answer(consensus, asked(Rule("fedavg")))
    assert one.spent == np.inf
    one.privacy = Privacy(clip=0.01, noise=20.0)
    assert one.epsilon == np.inf
    with pytest.raises(FederationError, match="without noise"):
        one.answer(consensus, asked(Rule("fedavg")))


def test_a_consensus_of_another_length_or_with_nan_is_refused_by_the_site():
    one, consensus = site("a", 0.2, 1), Common.fresh(SHAPE).vector()
    with pytest.raises(FederationError, match="the server: a vector of shape"):
        one.answer(consensus[1:], asked(Rule()))
    with pytest.raises(FederationError, match="the server: 1 of"):
        one.answer(np.where(np.arange(len(consensus)) == 3, np.nan, consensus), asked(Rule()))


@pytest.mark.parametrize(
    "body", [{}, {"round": 0, "sites": 2, "steps": 10**9, "rule": vars(Rule())}, {"round": "x"}, {"sites": 1}]
)
def test_a_question_that_is_none_is_refused(body: dict):
    with pytest.raises(FederationError):
        Asked.from_json(body)


def test_a_question_survives_json():
    question = Asked(3, Rule("fedprox", rho=0.5), 4, 25)
    assert Asked.from_json(question.to_json()) == question


def test_tags_have_other_names_and_units_that_measure_the_same_thing():
    rows = telemetry(0.2, 1, names=("FCV-7", "LI-101"))
    unit = Unit.of(SHAPE, rows, {"valve": "FCV-7", "level": "LI-101"})
    same = Unit.of(SHAPE, telemetry(0.2, 1))
    np.testing.assert_array_equal(unit.grid.y, same.grid.y)


def test_clashing_units_are_refused():
    rows = telemetry(0.2, 1)
    bar = Plant("clash", PERIOD_S, (Tag("valve", Role.MV, "%"), Tag("level", Role.CV, "bar")))
    with pytest.raises(QuestionError, match="'level' is in bar, the fleet's in m"):
        Unit.of(SHAPE, Telemetry(bar, rows.times, rows.values, rows.run))


def test_a_faster_site_is_averaged_and_a_slower_one_has_gaps_that_do_not_count():
    tags = (Tag("valve", Role.MV, "%"), Tag("level", Role.CV, "m"))
    times = pd.date_range(START, periods=6, freq="5s")
    fast = pd.DataFrame({"valve": [1.0, 2, 3, 4, 5, 6], "level": [0.0, 1, 2, 3, 4, 5]}, index=times)
    found = resampled(Plant("fast", 5.0, tags), fast, 10.0)
    # to the nearest grid point, halves to the later one: 0 s; 5 and 10 s; 15 and 20 s; 25 s
    np.testing.assert_array_equal(found.values, [[1.0, 0.0], [3.0, 1.5], [5.0, 3.5], [6.0, 5.0]])
    slow = pd.DataFrame({"valve": [1.0, 2.0], "level": [7.0, 9.0]}, index=pd.date_range(START, periods=2, freq="20s"))
    found = resampled(Plant("slow", 20.0, tags), slow, 10.0)
    np.testing.assert_array_equal(found.values, [[1.0, 7.0], [1.0, np.nan], [2.0, 9.0]])
    with pytest.raises(FederationError, match="samples every 50 s"):
        resampled(Plant("slowest", 50.0, tags), slow, 10.0)


def test_a_consensus_is_stored_with_a_checksum(tmp_path: Path):
    made = Consensus("c0ffee", SHAPE, Common.fresh(SHAPE, seed=4).vector(), {"rounds": [{"round": 1}]})
    path = tmp_path / "consensus.safetensors"
    save(made, path)
    found = load(path)
    np.testing.assert_array_equal(found.vector, made.vector)
    assert (found.id, found.shape, found.card) == (made.id, made.shape, made.card)
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ArtifactError, match="checksum"):
        load(path)
    with pytest.raises(ArtifactError, match="no consensus"):
        load(tmp_path / "nothing")
