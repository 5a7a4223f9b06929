"""How a controller did: a pure function of its records.

Service factor is the share of cycles in which the plan was written; the denominator is all cycles of the span, those
that were missed included. Comparing closed loop with shadow compares different times of the same plant: disturbances
and setpoints were not the same, so the benefit is an indication, and both sides are shown with their counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

Record = Mapping[str, Any]
MODES = ("off", "shadow", "advisory", "closed", "shedding")
OVERRIDES = ("override", "shed", "ramp", "off", "shadow", "advisory")  # events that end closed loop


def summarize(records: Sequence[Record]) -> dict[str, Any]:
    """The report of records in the order in which they were made; cycles of several runs may follow each other."""
    cycles = [record for record in records if record.get("kind") == "cycle"]
    closed = [record for record in cycles if record.get("mode") == "closed"]
    written = [record for record in closed if record.get("written")]
    missed = sum(int(record.get("missed") or 0) for record in cycles)
    return {
        "start": cycles[0]["at"] if cycles else None,
        "end": cycles[-1]["at"] if cycles else None,
        "cycles": len(cycles),
        "missed": missed,
        "by_mode": {mode: sum(record.get("mode") == mode for record in cycles) for mode in MODES},
        "service_factor": _share(len(written), len(cycles) + missed),
        "written_share_of_closed": _share(sum(bool(record.get("written")) for record in closed), len(closed)),
        "faults": dict(Counter(record["fault"]["code"] for record in cycles if record.get("fault"))),
        "findings": _findings(cycles),
        "mvs": _mvs(cycles),
        "overrides": _overrides(records),
        "prediction": _prediction(cycles),
        "benefit": _benefit(cycles),
        "timing": _timing(cycles),
    }


def _mvs(cycles: Sequence[Record]) -> dict[str, Any]:
    """By MV: the share of cycles in which it was at a limit, moved at its full rate or could not be moved, and why."""
    names = sorted({name for record in cycles for name in (record.get("next") or {})})
    told = {}
    for name in names:
        clamps = Counter((record.get("clamped") or {}).get(name) for record in cycles)
        reasons = Counter((record.get("held") or {}).get(name) for record in cycles)
        told[name] = {
            "at_low": _share(clamps["low"], len(cycles)),
            "at_high": _share(clamps["high"], len(cycles)),
            "at_rate": _share(clamps["rate"], len(cycles)),
            "held": _share(clamps["held"], len(cycles)),
            "clamped": _share(sum(n for why, n in clamps.items() if why), len(cycles)),
            "held_because": {why: n for why, n in reasons.items() if why},
        }
    return told


def _findings(cycles: Sequence[Record]) -> dict[str, dict[str, int]]:
    """By tag: how many cycles had which finding."""
    counts = Counter((f.get("tag") or "", f["code"]) for record in cycles for f in record.get("findings") or ())
    told: dict[str, dict[str, int]] = {}
    for (tag, code), count in sorted(counts.items()):
        told.setdefault(tag, {})[code] = count
    return told


def _overrides(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Each end of closed loop: when, by whom, why."""
    ends = [r for r in records if r.get("kind") == "mode" and r.get("from") == "closed" and r.get("event") in OVERRIDES]
    return [{name: record.get(name) for name in ("at", "event", "to", "by", "reason")} for record in ends]


def _prediction(cycles: Sequence[Record]) -> dict[str, Any]:
    """By CV: what was forecast for the next row against what came, where the plan was written."""
    errors: dict[str, list[float]] = {}
    for before, now in pairwise(cycles):
        if before.get("run") != now.get("run") or before.get("mode") != "closed" or not before.get("written"):
            continue
        for tag, expected in (before.get("predicted") or {}).items():
            value = (now.get("values") or {}).get(tag)
            if value is not None and expected is not None:
                errors.setdefault(tag, []).append(value - expected)
    return {
        tag: {"bias": _mean(e), "rmse": math.sqrt(_mean([x * x for x in e])), "rows": len(e)}
        for tag, e in sorted(errors.items())
    }


def _benefit(cycles: Sequence[Record]) -> dict[str, Any]:
    """Mean cost of a row and the spread of each CV, closed against shadow and advisory."""
    sides = {"closed": ("closed",), "baseline": ("shadow", "advisory")}
    told: dict[str, Any] = {}
    for side, modes in sides.items():
        mine = [record for record in cycles if record.get("mode") in modes]
        costs = [float(record["cost"]) for record in mine if record.get("cost") is not None]
        told[side] = {"rows": len(costs), "mean_cost": _mean(costs) if costs else None, "cvs": _errors(mine)}
    before, after = told["baseline"]["mean_cost"], told["closed"]["mean_cost"]
    told["saved_per_row"] = before - after if before is not None and after is not None else None
    return told


def _errors(cycles: Sequence[Record]) -> dict[str, Any]:
    """By CV with a setpoint: root mean square of its error, and the standard deviation of the error."""
    found: dict[str, list[float]] = {}
    for record in cycles:
        for tag, target in (record.get("setpoints") or {}).items():
            value = (record.get("values") or {}).get(tag)
            if value is not None:
                found.setdefault(tag, []).append(value - target)
    told = {}
    for tag, errors in sorted(found.items()):
        mean = _mean(errors)
        told[tag] = {
            "rms_error": math.sqrt(_mean([x * x for x in errors])),
            "deviation": math.sqrt(_mean([(x - mean) ** 2 for x in errors])),
        }
    return told


def _timing(cycles: Sequence[Record]) -> dict[str, Any]:
    """Jitter (start after due) and duration of a cycle, s; how many were late."""
    told: dict[str, Any] = {}
    for name in ("jitter_s", "took_s"):
        values = sorted(float(record[name]) for record in cycles if record.get(name) is not None)
        told[name] = {f"p{q}": values[min(len(values) * q // 100, len(values) - 1)] for q in (50, 99)} if values else {}
        if values:
            told[name]["max"] = values[-1]
    told["late"] = sum((record.get("fault") or {}).get("code") == "late" for record in cycles)
    return told


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
