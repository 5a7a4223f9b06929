"""Calculated tags: what may be written, what it gives, and where it stands in a plant and in telemetry."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.errors import PlantError
from twin.formula import Formula, FormulaError
from twin.plant import Plant, Role, Tag
from twin.telemetry import Telemetry, sources, with_calculated

A, B = np.array([1.0, 4.0, -2.0, np.nan]), np.array([2.0, 0.0, 4.0, 1.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a / b", [0.5, np.nan, -0.5, np.nan]),
        ("{a} / {b}", [0.5, np.nan, -0.5, np.nan]),
        ("a + 2 * b - 1", [4, 3, 5, np.nan]),
        ("-(a - b) ** 2", [-1, -16, -36, np.nan]),
        ("log(a)", [0, np.log(4), np.nan, np.nan]),
        ("sqrt(a) + 0 * b", [1, 2, np.nan, np.nan]),
        ("log10(abs(a) * 10)", [1, np.log10(40), np.log10(20), np.nan]),
        ("exp(b * 1000)", [np.nan, 1, np.nan, np.nan]),
        ("max(a, b, 3)", [3, 4, 4, np.nan]),
        ("min(a, b)", [1, 0, -2, np.nan]),
        ("curve(a, (0, 0), (2, 10), (4, 100))", [5, 100, 0, np.nan]),
        ("curve(b, (0, 5), (4, -5)) + a", [1, 9, -7, np.nan]),
    ],
)
def test_a_formula_gives_what_it_says(text: str, expected: list[float]) -> None:
    found = Formula.parse(text).compute({"a": A, "b": np.where(np.isnan(A), np.nan, B)})
    np.testing.assert_allclose(found, expected)


def test_names_that_are_no_words_stand_in_braces() -> None:
    formula = Formula.parse("{FIC-101.PV} / { steam flow } + x_1")
    assert formula.tags == ("FIC-101.PV", "steam flow", "x_1")
    values = {"FIC-101.PV": np.array([6.0]), "steam flow": np.array([3.0]), "x_1": np.array([1.0])}
    assert formula.compute(values).tolist() == [3.0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "1 to 500"),
        ("a" * 501, "1 to 500"),
        ("a +", "no arithmetic"),
        ("1 + 2", "names no tag"),
        ("a.b", "attribute is not allowed"),
        ("a[0]", "subscript is not allowed"),
        ("__import__('os')", "no function __import__"),
        ("a.__class__()", "call is not allowed"),
        ("(lambda: a)()", "call is not allowed"),
        ("[a for a in b]", "listcomp is not allowed"),
        ("a if a else b", "ifexp is not allowed"),
        ("a > b", "compare is not allowed"),
        ("a and b", "boolop is not allowed"),
        ("'a'", "constant is not allowed"),
        ("True + a", "constant is not allowed"),
        ("a + 1j", "constant is not allowed"),
        ("a // b", "binop is not allowed"),
        ("log(a, b)", "log takes 1 value"),
        ("max()", "max takes at least one value"),
        ("log(x=a)", "call is not allowed"),
        ("curve()", "curve needs a tag"),
        ("curve(a, (0, 0))", "two points or more"),
        ("curve(a, (1, 0), (1, 2))", "from left to right"),
        ("curve(a, (1, 0), b)", "pair of numbers"),
        ("curve(a, (1, 0), (2, True))", "pair of numbers"),
        ("a * " + "9" * 400, "too large"),
        ("(" * 100 + "a" + ")" * 100 + " + " + "-" * 60 + "a", "nested too deeply|no arithmetic"),
        ("a; b", "no arithmetic"),
        ("a := b", "no arithmetic"),
        ("a\x00", "no arithmetic"),
    ],
)
def test_what_is_no_formula_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(FormulaError, match=why):
        Formula.parse(text)


@given(st.text(alphabet="ab{}()+-*/.,0129 logcurvemx_'\"[]\\\n", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_formula_or_refused(text: str) -> None:
    try:
        formula = Formula.parse(text)
    except FormulaError:
        return
    found = formula.compute(dict.fromkeys(formula.tags, np.array([0.5, np.nan])))
    assert found.shape == (2,)
    assert np.isnan(found[1])


def plant(*formulas: tuple[str, str], role: Role = Role.CV) -> Plant:
    tags = (Tag("steam", Role.MV), Tag("FIC-101", Role.DV), Tag("out", Role.CV))
    return Plant("p", 10.0, (*tags, *(Tag(name, role, formula=text) for name, text in formulas)))


def test_calculated_tags_may_need_each_other_in_any_order() -> None:
    described = plant(("twice", "2 * ratio"), ("ratio", "{FIC-101} / steam"))
    assert list(described.formulas.by_tag) == ["ratio", "twice"]
    assert described.formulas.sources == ("FIC-101", "steam")
    assert described.measured == ("steam", "FIC-101", "out")
    assert described.names == ("steam", "FIC-101", "out", "twice", "ratio")
    assert Plant.from_json(described.to_json()) == described
    assert "formula" not in described.to_json()["tags"][0]


@pytest.mark.parametrize(
    ("formulas", "loc", "why"),
    [
        ((("r", "steem / out"),), ("tags", 3, "formula"), "unknown tag 'steem'; did you mean steam"),
        ((("r", "2 * r"),), ("tags", 3, "formula"), "it needs itself"),
        ((("r", "s + 1"), ("s", "r + out")), ("tags", 3, "formula"), "it needs itself, by way of r, s"),
        ((("r", "steam +"),), ("tags", 3, "formula"), "no arithmetic"),
    ],
)
def test_a_formula_that_cannot_be_is_refused_by_its_place(formulas: tuple, loc: tuple, why: str) -> None:
    with pytest.raises(PlantError) as refused:
        plant(*formulas)
    assert refused.value.problems[0].loc == loc
    assert why in refused.value.problems[0].msg


@pytest.mark.parametrize("role", [Role.MV, Role.DV])
def test_only_a_cv_can_be_calculated(role: Role) -> None:
    with pytest.raises(PlantError, match="only a CV can be calculated"):
        plant(("r", "out * 2"), role=role)


def test_a_formula_is_text() -> None:
    body = plant().to_json()
    body["tags"].append({"name": "r", "role": "cv", "formula": 3})
    with pytest.raises(PlantError, match=r"tags\.3\.formula: must be text"):
        Plant.from_json(body)


def test_telemetry_is_computed_on_its_grid_whatever_is_stored_under_the_name() -> None:
    described = plant(("ratio", "{FIC-101} / steam"))
    index = pd.date_range("2026-01-01", periods=4, freq="10s", tz="UTC")
    columns = {"steam": [2.0, 0.0, 4.0, np.nan], "FIC-101": [6.0, 1.0, 2.0, 3.0], "out": 1.0, "ratio": 99.0}
    found = Telemetry.from_frame(described, pd.DataFrame(columns, index=index))
    np.testing.assert_array_equal(found.y[:, 1], [3.0, np.nan, 0.5, np.nan])


def test_rows_off_the_grid_hold_what_is_measured_at_other_moments() -> None:
    described = plant(("ratio", "{FIC-101} / steam"))
    assert sources(described, ["out", "ratio"]) == ["out", "FIC-101", "steam"]
    assert sources(described, ["out"]) == ["out"]
    index = pd.to_datetime(["2026-01-01T00:00:00Z", "2026-01-01T00:00:03Z", "2026-01-01T00:00:05Z"])
    frame = pd.DataFrame(
        {"out": [1.0, np.nan, np.nan], "FIC-101": [6.0, np.nan, np.nan], "steam": [np.nan, 2.0, np.nan]}, index
    )
    found = with_calculated(described, frame, ["ratio", "out"])
    assert list(found.columns) == ["ratio", "out"]
    np.testing.assert_array_equal(found["ratio"], [np.nan, 3.0, np.nan])
