"""The card in sentences: figures of a hand-made card, worked out on paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twin.summary import short, summary


@pytest.fixture
def card() -> dict[str, Any]:
    """Two CVs over two rows: the twin errs by half and by twice of what persistence does, by a quarter of ARX."""
    coverage = {"asked": 0.9, "measured": [0.88, 0.92]}
    cvs = {
        "level": {"rmse": {"twin": [1.0, 3.0], "persistence": [2.0, 6.0], "arx": [4.0, 12.0]}, "coverage": coverage},
        "flow": {"rmse": {"twin": [4.0, 4.0], "persistence": [2.0, 2.0], "arx": [16.0, 16.0]}, "coverage": coverage},
    }
    correction = {"share": 0.5, "outside": 0.5, "shares": [0.0, 0.5], "errors": [1.0, 0.7]}
    return {
        "backtest": {"windows": 12, "how": "out of fold", "cvs": cvs},
        "training": {"residual": {"why": "The residual ships."}, "correction": correction},
        "disturbances": {
            "feed": {"order": 2, "error": 0.3, "held": 0.6},
            "ambient": {"order": 0, "error": 1.0, "held": 1.0},
        },
        "unknown_effects": {"valve": "it never moved"},
    }


def test_errors_bands_and_the_correction(card: dict[str, Any]) -> None:
    lines = summary(card)
    assert lines[0] == "Backtest on 12 windows, out of fold."
    assert "better on 1 of 2 CVs" in lines[1]
    assert "is 1.25 of persistence's" in lines[1]  # the median of 0.5 and 2
    assert "better on 2 of 2 CVs" in lines[2]
    assert "is 0.25 of ARX's" in lines[2]
    assert lines[3] == "Bands asked to hold 90% of the values held 90.0% out of fold."
    assert "corrected for 50%" in lines[5]
    assert "to 0.70 of that without" in lines[5]


def test_errors_in_small_units_and_rows_that_were_never_measured(card: dict[str, Any]) -> None:
    for cv in card["backtest"]["cvs"].values():
        cv["rmse"] = {who: [*(1e-14 * np.array(errors)), 0.0] for who, errors in cv["rmse"].items()}
        cv["coverage"] = {"asked": 0.9, "measured": [0.88, 0.92, 0.0]}
    lines = summary(card)
    assert "better on 1 of 2 CVs" in lines[1]
    assert "is 1.25 of persistence's" in lines[1]
    assert lines[3] == "Bands asked to hold 90% of the values held 90.0% out of fold."


def test_dvs_that_return_and_dvs_that_hold(card: dict[str, Any]) -> None:
    feed, ambient = (line for line in summary(card) if "where nobody says" in line)
    assert feed.startswith("feed, ")
    assert feed.endswith(
        "return to its mean as in training: out of fold the error of that is 0.50 of holding its last value."
    )
    assert ambient == "ambient, where nobody says what it will do, is expected to hold its last value."
    assert not [line for line in summary({**card, "disturbances": {}}) if "where nobody says" in line]


def test_unknown_effects(card: dict[str, Any]) -> None:
    assert "Effect of valve unknown: it never moved." in summary(card)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.012345, "0.0123"), (3600.0, "3600"), (999.7, "1000"), (-86400.0, "-86400"), (2.5e6, "2.5e+06"), (None, "–")],
)
def test_numbers_of_pages_are_written_as_people_write_them(value: float | None, shown: str) -> None:
    assert short(value) == shown


def test_a_known_absence_of_an_effect_is_called_that(card: dict[str, Any]) -> None:
    kept = {"asked": 0, "status": "kept", "why": "1% of the latent correction is taken"}
    card["gain_sign"] = {"effects": {"pump": {"level": kept}}, "points": 84}
    assert "No effect of pump → level is kept: 1% of the latent correction is taken." in summary(card)
