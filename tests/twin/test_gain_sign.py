"""Signs of gains, from what is asked to what the card says, on a heater in closed loop whose true gains are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from twin.errors import QuestionError
from twin.gain_sign import signs
from twin.judge import leans_on
from twin.plant import Plant, Role, Tag
from twin.responses import step_responses
from twin.sign_check import sign_check
from twin.summary import summary
from twin.telemetry import Telemetry
from twin.train import Options, Twin, fit

PLANT = Plant(
    "Heater",
    10.0,
    (
        Tag("steam", Role.MV, "%"),
        Tag("feed", Role.MV, "m3/h"),
        Tag("spare", Role.MV, "%"),
        Tag("temp", Role.CV, "degC"),
        Tag("level", Role.CV, "m"),
    ),
)
KNOWN = {"steam": {"temp": 1, "level": 0}, "feed": {"temp": -1, "level": 1}, "spare": {"temp": 1}}
QUICK = Options(budget_s=1e-3)


def heater(rows: int = 1500) -> Telemetry:
    """A controller moves steam against a disturbance nobody measures; gains: steam 1 and 0, feed −0.5 and 0.8."""
    rng = np.random.default_rng(1)
    feed = np.repeat(rng.uniform(-1, 1, rows // 20 + 1), 20)[:rows]
    x, y, u, wander = np.zeros(2), np.zeros((rows, 2)), np.zeros(rows), 0.0
    for t in range(1, rows):
        wander = 0.97 * wander + 0.25 * rng.normal()
        u[t] = -0.8 * y[t - 1, 0] + 0.02 * rng.normal()
        drive = np.array([u[t] - 0.5 * feed[t] + 3 * wander, 0.8 * feed[t]])
        x = x + np.array([0.1, 0.15]) * (drive - x)
        y[t] = x + 0.05 * rng.normal(size=2)
    index = pd.date_range("2026-01-01", periods=rows, freq="10s", tz="UTC", name="time")
    columns = {"steam": u, "feed": feed, "spare": 2.0, "temp": y[:, 0], "level": y[:, 1]}
    return Telemetry.from_frame(PLANT, pd.DataFrame(columns, index=index))


@pytest.fixture(scope="module")
def plain() -> Twin:
    return fit(heater(), QUICK)


@pytest.fixture(scope="module")
def told() -> Twin:
    return fit(heater(), replace(QUICK, gain_sign=KNOWN))


def test_a_controller_hides_the_sign_and_what_is_known_rights_it(plain: Twin, told: Twin) -> None:
    free, kept = (step_responses(twin)["gains"] for twin in (plain, told))
    assert free["steam"]["temp"]["mean"] < -0.5
    assert kept["steam"]["temp"]["mean"] > 0
    assert kept["steam"]["level"]["mean"] == pytest.approx(0.0, abs=1e-3)
    assert kept["feed"]["temp"]["mean"] < 0


def test_a_cv_whose_signs_are_right_keeps_its_forecasts(plain: Twin, told: Twin) -> None:
    before, after = (step_responses(twin)["gains"]["feed"]["level"]["mean"] for twin in (plain, told))
    assert before == pytest.approx(0.8, abs=0.05)
    assert after == pytest.approx(before, abs=0.05)
    errors = [twin.card["backtest"]["cvs"]["level"]["rmse"]["twin"] for twin in (plain, told)]
    assert np.mean(errors[1]) < 1.03 * np.mean(errors[0])


def test_the_card_says_what_became_of_each_sign(told: Twin) -> None:
    found = told.card["gain_sign"]
    assert {mv: {cv: e["status"] for cv, e in of.items()} for mv, of in found["effects"].items()} == {
        "steam": {"temp": "bound", "level": "kept"},
        "feed": {"temp": found["effects"]["feed"]["temp"]["status"], "level": "kept"},
        "spare": {"temp": "unknown"},
    }
    assert found["effects"]["feed"]["temp"]["status"] in ("kept", "bound")
    assert not found["kept"]  # one is unknown
    assert found["points"] > 50
    lines = "\n".join(summary({**told.card, "gain_sign": found}))
    assert "steam → temp is kept against the rows" in lines
    assert "spare → temp is unknown: it never moved in the training data" in lines


def test_a_twin_whose_sign_is_wrong_says_so_and_so_do_its_answers(plain: Twin, told: Twin) -> None:
    asked = signs(PLANT, {"steam": {"temp": 1}, "feed": {"level": 1}})
    found = sign_check(plain, heater(), asked)
    assert not found["kept"]
    assert found["effects"]["steam"]["temp"]["status"] == "broken"
    assert found["effects"]["steam"]["temp"]["wrong"] == found["points"]
    assert found["effects"]["feed"]["level"]["status"] == "kept"
    present = np.array([0.0, 0.0, 2.0])
    moved = np.tile(present + [1.0, 0.0, 0.0], (5, 1))
    codes = {(reason.code, reason.cvs) for reason in leans_on(told, moved, present)}
    assert ("unidentifiable_effect", ("temp",)) in codes or ("unidentifiable_effect", ("temp", "level")) in codes


@pytest.mark.parametrize(
    ("asked", "loc"),
    [
        ({"stem": {"temp": 1}}, ("options", "gain_sign", "stem")),
        ({"steam": {"tmp": 1}}, ("options", "gain_sign", "steam", "tmp")),
        ({"steam": {"feed": 1}}, ("options", "gain_sign", "steam", "feed")),
        ({"temp": {"level": 1}}, ("options", "gain_sign", "temp")),
        ({"steam": {"temp": 2}}, ("options", "gain_sign", "steam", "temp")),
        ({"steam": {"temp": 0.5}}, ("options", "gain_sign", "steam", "temp")),
        ({"steam": {"temp": True}}, ("options", "gain_sign", "steam", "temp")),
        ({"steam": 1}, ("options", "gain_sign", "steam")),
    ],
)
def test_what_is_no_sign_is_refused_by_its_place(asked: dict, loc: tuple) -> None:
    with pytest.raises(QuestionError) as refused:
        signs(PLANT, asked)
    assert [problem.loc for problem in refused.value.problems] == [loc]


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(QuestionError) as refused:
        signs(PLANT, {"steam": {"temp": 3, "level": 0, "nothing": 1}, "x": {}})
    assert len(refused.value.problems) == 3
