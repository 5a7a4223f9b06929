"""Units: conversions worked out by hand, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from twin.errors import PlantError
from twin.units import check, convert, difference, per

DATA = Path(__file__).parents[2].parent / "shared" / "data"

UNITS = (
    "% 1 K U/min V bar degC g/min inch kPa kW kg/h kg/s kscmh l l/min m3/h mbar mg/dl mol% mol/l psi sl/min "
    "degF °C m³/h m^3/h Nm3/h W/m2/K kg/(m3*s) 1/min barg psig rpm pH ppm t/h kJ/kg cP uS/cm %/min m3/hr gpm"
)


@pytest.mark.parametrize("unit", UNITS.split())
def test_units_of_plants_are_known(unit: str) -> None:
    check(unit)


@pytest.mark.skipif(not DATA.exists(), reason=f"the plants' data is not at {DATA}")
def test_the_units_of_all_plants_at_hand_are_known() -> None:
    for path in DATA.glob("*/plant.json"):
        for tag in json.loads(path.read_text())["tags"]:
            check(tag.get("unit", "1"))


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("kmscmh", "kscmh"),
        ("degc", "degC"),
        ("C", "degC"),
        ("KG/H", "kg/h"),
        ("m3/stunde", "unknown unit"),
        ("", "1 for none"),
        ("2", "1 for none"),
        ("10 kg", "1 for none"),
        ("kg//h", "cannot be read"),
        ("(kg", "cannot be read"),
        ("9**9**9**9", "cannot be read"),
        ("m**99999999", "cannot be read"),
        ("a" * 5000, "cannot be read"),
        ("__class__", "unknown unit"),
    ],
)
def test_an_unknown_unit_is_refused_with_near_matches(unit: str, says: str) -> None:
    with pytest.raises(PlantError, match=says):
        check(unit)


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (100.0, "degC", "K", 373.15),
        (212.0, "degF", "degC", 100.0),
        (1.0, "kscmh", "sl/min", 1e6 / 60),
        (50.0, "mol%", "1", 0.5),
        (25.0, "%", "1", 0.25),
        (3600.0, "m3/h", "l/s", 1000.0),
        (1.0, "barg", "kPa", 201.325),
        (0.0, "psig", "bar", 1.01325),
        (2.0, "U/min", "U/h", 120.0),
        (1.0, "inch", "mm", 25.4),
    ],
)
def test_conversions(value: float, source: str, target: str, expected: float) -> None:
    np.testing.assert_allclose(convert(value, source, target), expected, rtol=1e-12)
    np.testing.assert_allclose(convert([expected], target, source), [value], rtol=1e-9, atol=1e-9)


def test_differences_of_offset_units() -> None:
    np.testing.assert_allclose(convert([10.0, -1.0], "degC", "K", delta=True), [10, -1])
    np.testing.assert_allclose(convert(9.0, "degF", "degC", delta=True), 5)
    np.testing.assert_allclose(convert(2.0, "barg", "kPa", delta=True), 200)
    assert difference("degC/min") == "delta_degC/min"
    assert difference("kg/h") == "kg/h"


@pytest.mark.parametrize(("source", "target"), [("sl/min", "l/min"), ("Nm3/h", "m3/h"), ("U", "mol"), ("degC", "bar")])
def test_different_things_are_not_converted(source: str, target: str) -> None:
    with pytest.raises(PlantError, match="different things"):
        convert(1.0, source, target)


@pytest.mark.parametrize(
    ("y", "u", "gain"),
    [
        ("degC", "%", "delta_degC/%"),
        ("kg/h", "m3/h", "(kg/h)/(m3/h)"),
        ("%", "%", "1"),
        ("1", "1", "1"),
        ("bar", "1", "bar"),
        ("1", "degC", "1/delta_degC"),
        ("mol/l", "degC/min", "(mol/l)/(delta_degC/min)"),
    ],
)
def test_the_unit_of_a_gain_reads_well_and_is_a_unit(y: str, u: str, gain: str) -> None:
    assert per(y, u) == gain
    check(gain)


def test_pint_is_loaded_only_when_a_unit_is_asked_for() -> None:
    code = "import sys, twin.units; sys.exit('pint' in sys.modules or 'jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
