"""Training from an earlier twin on: what is taken over, what is refused, and which of the two is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.twin.test_train import PLANT, QUICK, _telemetry
from twin import train
from twin.dynamics.ensemble import jepas
from twin.dynamics.jepa import Sizes
from twin.errors import QuestionError
from twin.inheritance import inherit, labels
from twin.plant import Plant
from twin.train import fit
from twin.training.folds import split


@pytest.fixture(scope="module")
def earlier() -> train.Twin:
    """Linear backbones with a residual that adds nothing yet."""
    twin = fit(_telemetry(600), QUICK)
    sizes = Sizes(1, 2, twin.history)
    return replace(twin, dynamics=replace(twin.dynamics, residuals=jepas(sizes, 4, 0)))


def test_rows_keep_their_fold_and_new_ones_have_none(earlier: train.Twin) -> None:
    rows = _telemetry(900)
    found = inherit(earlier, rows)
    before = split(np.zeros(600, int), earlier.history, earlier.horizon).label
    np.testing.assert_array_equal(found.known, np.r_[before, np.full(300, -1)])
    np.testing.assert_array_equal(found.scaler.y_scale, earlier.scaler.y_scale)
    late = np.array([np.datetime64("2025-12-31"), np.datetime64("2026-01-01"), np.datetime64("2027-01-01")])
    assert labels(earlier.card["training"]["blocks"], late).tolist() == [-1, before[0], -1]


def test_what_is_no_start_is_refused(earlier: train.Twin) -> None:
    rows = _telemetry(600)
    with pytest.raises(QuestionError, match="no latent residual"):
        inherit(replace(earlier, dynamics=replace(earlier.dynamics, residuals=None)), rows)
    other = replace(rows, plant=Plant("Slower", 10.0, PLANT.tags))
    with pytest.raises(QuestionError, match="sample period"):
        inherit(earlier, other)
    with pytest.raises(QuestionError, match="unit has changed"):
        inherit(earlier, replace(rows, values=rows.values * 100))
    card = {**earlier.card, "training": {k: v for k, v in earlier.card["training"].items() if k != "blocks"}}
    with pytest.raises(QuestionError, match="does not tell"):
        inherit(replace(earlier, card=card), rows)
    with pytest.raises(QuestionError, match="horizon_s"):
        fit(rows, replace(QUICK, horizon_s=20.0), start=earlier)


def test_a_twin_tells_its_start(earlier: train.Twin) -> None:
    twin = fit(_telemetry(700), QUICK, start=earlier)
    told = twin.card["training"]["start"]
    assert (told["twin"], told["kept"]) == (earlier.id, "fresh")  # neither adds anything: the fresh one wins the tie
    assert told["out_of_fold"]["warm"] == pytest.approx(1.0, abs=1e-3)
    assert (twin.history, twin.horizon) == (earlier.history, earlier.horizon)
    assert pd.Timestamp(twin.card["training"]["blocks"]["end"][0]) == _telemetry(700).at
