"""The units that an OPC UA server states: the property EngineeringUnits of analog items (IEC 62541-8)."""

from __future__ import annotations

from typing import Any

from asyncua import ua

NAME = "EngineeringUnits"
UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
COMMON_CODES = {  # of UNECE Recommendation 20, whose codes are the ids of units
    **{"CEL": "degC", "FAH": "degF", "KEL": "K", "P1": "%"},
    **{"BAR": "bar", "MBR": "mbar", "PAL": "Pa", "KPA": "kPa", "MPA": "MPa"},
    **{"MTR": "m", "CMT": "cm", "MMT": "mm", "MTQ": "m3", "LTR": "l"},
    **{"MQH": "m3/h", "MQS": "m3/s", "L2": "l/min", "KGS": "kg/s", "KGM": "kg"},
    **{"SEC": "s", "MIN": "min", "HUR": "h", "HTZ": "Hz"},
    **{"VLT": "V", "AMP": "A", "WTT": "W", "KWT": "kW"},
}


def unit_of(value: ua.DataValue) -> str:
    """The unit that such a property holds: that of its code where we know it, else its display name; "" for none."""
    told: Any = None if value.Value is None else value.Value.Value
    if not isinstance(told, ua.EUInformation):
        return ""
    if told.NamespaceUri == UNECE and (known := COMMON_CODES.get(_code(told.UnitId))):
        return known
    return (told.DisplayName.Text or "").strip() if told.DisplayName else ""


def _code(number: int) -> str:
    """The letters of a unit's id: a byte each, the first highest (OPC 10000-8, 5.6.3)."""
    return max(number, 0).to_bytes(8, "big").lstrip(b"\0").decode("ascii", "replace")
