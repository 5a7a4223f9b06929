"""Engineering units, by pint, with those of process plants that it lacks.

Volumes at standard or normal conditions, and insulin units, are quantities of their own: they are never mistaken for
volumes or amounts. A difference of temperatures or gauge pressures is none: gains use `delta_degC`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import PlantError
from twin.plant import near

if TYPE_CHECKING:
    import pint

DEFINITIONS = """
standard_liter = [standard_volume] = sl
standard_cubic_meter = 1000 * standard_liter = scm
thousand_standard_cubic_meters_per_hour = 1000 * standard_cubic_meter / hour = kscmh
standard_cubic_foot = 28.316846592 * standard_liter = scf
normal_liter = [normal_volume] = Nl
normal_cubic_meter = 1000 * normal_liter = Nm3
insulin_unit = [insulin] = U
mole_percent = 0.01 = molpct
weight_percent = 0.01 = wtpct
volume_percent = 0.01 = volpct
acidity = [] = pH
barg = 1e5 * pascal; offset: 101325
mbarg = 100 * pascal; offset: 101325
kPag = 1000 * pascal; offset: 101325
psig = 6894.757293168361 * pascal; offset: 101325
gallon_per_minute = gallon / minute = gpm
liter_per_minute = liter / minute = lpm
standard_liter_per_minute = standard_liter / minute = slpm
standard_cubic_foot_per_minute = standard_cubic_foot / minute = scfm
nephelometric_turbidity_unit = [turbidity] = NTU
"""
SPELLED = {
    **{"mol%": "molpct", "wt%": "wtpct", "vol%": "volpct", "°C": "degC", "°F": "degF"},
    **{"deg C": "degC", "deg F": "degF"},
    **{"^": "**", "²": "**2", "³": "**3", "·": "*"},
}
OFFSET = re.compile(r"(?<![A-Za-z_])(degC|degF|°C|°F|barg|mbarg|kPag|psig)(?![A-Za-z_])")
POWER = re.compile(r"(?<![A-Za-z_])([kdcmuµ]?m|ft|in|inch|yd)([23])(?![\w])")
UNIT = r"[(]*(?:[^\W\d]\w*|%)(?:\*\*-?\d)?[)]*"
FORM = re.compile(rf"1|(?:1\s?/\s?)?{UNIT}(?:\s?[/*]\s?{UNIT}|\s{UNIT}){{0,9}}")
MISTAKABLE = {"C": "degC", "F": "degF"}  # to pint these are coulomb and farad
COMMON = (
    "1",
    "%",
    "degC",
    "K",
    "degF",
    "bar",
    "mbar",
    "barg",
    "kPa",
    "Pa",
    "psi",
    "m3/h",
    "l/min",
    "l/h",
    "kg/h",
    "kg/s",
    "t/h",
    "kscmh",
    "sl/min",
    "Nm3/h",
    "m",
    "mm",
    "kW",
    "MW",
    "V",
    "mA",
    "A",
    "Hz",
    "rpm",
    "mol%",
    "ppm",
    "mol/l",
    "mg/l",
    "g/l",
    "pH",
    "uS/cm",
    "cP",
    "s",
    "min",
    "h",
    "U/min",
    "mg/dl",
    "inch",
)


@cache
def check(unit: str) -> None:
    """Accept an engineering unit.

    Raises:
        PlantError: it is none that is known; near matches are named.
    """
    _unit(unit)


def convert(values: np.ndarray | float, source: str, target: str, *, delta: bool = False) -> np.ndarray:
    """Values of one unit in another, float64.

    Args:
        delta: the values are differences (or rates of change): 10 degC are then 10 K.

    Raises:
        PlantError: an unknown unit, or units of different quantities.
    """
    registry = _registry()
    source_unit, target_unit = (_unit(difference(u) if delta else u) for u in (source, target))
    if source_unit.dimensionality != target_unit.dimensionality:
        raise PlantError(f"'{source}' cannot be converted to '{target}': they measure different things")
    quantity = registry.Quantity(np.asarray(values, np.float64), source_unit)
    return np.asarray(quantity.to(target_unit).magnitude, np.float64)


def difference(unit: str) -> str:
    """The unit of a difference of two values: delta_degC of degC; most units stay what they are."""
    return OFFSET.sub(r"delta_\1", unit)


@cache
def per(unit_y: str, unit_u: str) -> str:
    """The unit of a gain: a change of y (unit_y) by a change of u (unit_u), such as "delta_degC/%"."""
    y, u = difference(unit_y), difference(unit_u)
    if u == "1" or y == u:
        return "1" if y == u else y
    top, bottom = (f"({unit})" if re.search(r"[/*\s]", unit) else unit for unit in (y, u))
    return f"{top}/{bottom}"


@cache
def _registry() -> pint.UnitRegistry:
    import pint  # takes a while: only who asks for a unit waits for it

    registry: pint.UnitRegistry = pint.UnitRegistry(on_redefinition="ignore")
    for line in DEFINITIONS.strip().splitlines():
        registry.define(line)
    return registry


@cache
def _unit(unit: str) -> pint.Unit:
    import pint

    text = unit
    for word, spelling in SPELLED.items():
        text = text.replace(word, spelling)
    text = POWER.sub(r"\1**\2", text)
    if not FORM.fullmatch(text) or len(text) > 100:
        raise PlantError(f"'{unit[:60]}' cannot be read as a unit; write such as m3/h, kg/(m3*s), 1/min, or 1 for none")
    for token in re.findall(r"[A-Za-z]+", text):
        if token in MISTAKABLE:
            raise PlantError(f"unknown unit '{unit}'; did you mean {unit.replace(token, MISTAKABLE[token])}?")
    try:
        return _registry().parse_units("dimensionless" if text == "1" else text)
    except pint.UndefinedUnitError as error:
        names = error.unit_names
        word = names if isinstance(names, str) else names[0]
        known = [name for name in dir(_registry()) if not name.startswith("_")]
        hint = near(unit, COMMON) or near(unit.lower(), COMMON) or near(word, known)
        raise PlantError(f"unknown unit '{unit}'{hint or '; dimensionless is 1'}") from None
    except Exception as error:  # pint's parser raises what its tokenizer does
        raise PlantError(f"'{unit}' cannot be read as a unit: {error}") from None
