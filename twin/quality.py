"""What telemetry is worth: holes, frozen and impossible values, and whether one can learn from how the MVs moved.

Counts are exact; lists are capped at `LISTED` and say how many there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from twin import anomalies
from twin.excitation import excitation
from twin.plant import Role, Tag
from twin.store import Upload
from twin.telemetry import Telemetry
from twin.vector import WHOLE

LISTED = 20


def assess(
    telemetry: Telemetry,
    uploads: Iterable[Upload] = (),
    stamps: np.ndarray | None = None,
    bad: Mapping[str, Sequence[tuple[pd.Timestamp, pd.Timestamp]]] | None = None,
) -> dict[str, Any]:
    """The quality of telemetry, ready for JSON.

    Args:
        telemetry: rows on the plant's grid.
        uploads: of the store, for what was rejected, repeated or late.
        stamps: (rows,) datetime64[ns], the times as they were sent, for what is off the grid.
        bad: first and last time of spans in which a tag was sent with bad quality.
    """
    uploads = [upload for upload in uploads if not upload.taken_back]
    tags = _scalars(telemetry) | _vectors(telemetry)
    for name, spans in (bad or {}).items():
        tags[telemetry.plant.tag(name).vector or name]["bad_quality"] = _bad(spans)
    moved = excitation(telemetry)
    clock = anomalies.clock(telemetry.times if stamps is None else stamps, telemetry.plant.sample_period_s)
    clock["uploads_ahead"] = _ahead(uploads)
    warnings = _warnings(tags) + _of_clock(clock, telemetry.plant.sample_period_s) + moved.pop("warnings")
    return {
        "rows": len(telemetry),
        "start": _iso(telemetry.times[0]) if len(telemetry) else None,
        "end": _iso(telemetry.times[-1]) if len(telemetry) else None,
        "sample_period_s": telemetry.plant.sample_period_s,
        "gaps": _gaps(telemetry),
        "tags": tags,
        "clock": clock,
        "uploads": _uploads(uploads),
        **moved,
        "warnings": warnings,
    }


def _scalars(telemetry: Telemetry) -> dict[str, dict[str, Any]]:
    tags = enumerate(telemetry.plant.tags)
    return {tag.name: _tag(telemetry.values[:, i], telemetry, tag) for i, tag in tags if tag.vector is None}


def _vectors(telemetry: Telemetry) -> dict[str, dict[str, Any]]:
    """Vector tags, by the mean over the elements of each frame."""
    found = {}
    for name, columns in telemetry.plant.vectors.items():
        frames = telemetry.values[:, columns]
        whole = np.isfinite(frames).mean(axis=1) >= WHOLE
        mean = np.full(len(frames), np.nan)
        mean[whole] = np.nanmean(frames[whole], axis=1)
        found[name] = _tag(mean, telemetry, telemetry.plant.tags[columns[0]])
    return found


def _gaps(telemetry: Telemetry) -> dict[str, Any]:
    """The gaps between runs, the longest first."""
    ends = np.flatnonzero(np.diff(telemetry.run))
    seconds = (telemetry.times[ends + 1] - telemetry.times[ends]) / np.timedelta64(1, "s")
    worst = np.argsort(-seconds, kind="stable")[:LISTED]
    listed = [
        {
            "start": _iso(telemetry.times[ends[i]]),
            "end": _iso(telemetry.times[ends[i] + 1]),
            "seconds": float(seconds[i]),
        }
        for i in worst
    ]
    return {
        "runs": len(np.unique(telemetry.run)),
        "count": len(ends),
        "total_s": float(seconds.sum()),
        "longest": listed,
    }


def _tag(values: np.ndarray, telemetry: Telemetry, tag: Tag) -> dict[str, Any]:
    """Coverage, statistics and suspicious spans of the values (N,) of one tag."""
    known = np.isfinite(values)
    answer: dict[str, Any] = {
        "role": str(tag.role),
        "unit": tag.unit,
        "coverage": float(known.mean()) if len(known) else 0.0,
    }
    answer |= {"missing_rows": int((~known).sum()), "holes": _spans(telemetry, ~known)}
    if known.any():
        seen = values[known]
        answer |= {"min": float(seen.min()), "max": float(seen.max())}
        answer |= {"mean": float(seen.mean()), "std": float(seen.std())}
    low, high = -np.inf if tag.low is None else tag.low, np.inf if tag.high is None else tag.high
    answer["below_range"] = _spans(telemetry, known & (values < low))
    answer["above_range"] = _spans(telemetry, known & (values > high))
    answer["constant"] = bool(known.any() and answer["min"] == answer["max"])
    measured = tag.role is not Role.MV  # an MV may step, and rest, as it likes
    frozen = anomalies.frozen(values, telemetry.run) if measured else np.zeros(len(values), bool)
    answer["frozen"] = _spans(telemetry, frozen, apart=values)
    spikes = anomalies.spikes(values, telemetry.run) if measured else np.zeros(len(values), bool)
    answer["spikes"] = _spans(telemetry, spikes)
    jumps = anomalies.jumps(values, telemetry.run, tag.unit) if measured else []
    listed = [
        {"at": _iso(telemetry.times[j.row]), "before": j.before, "after": j.after, "unit": j.unit}
        for j in jumps[:LISTED]
    ]
    answer["level_shifts"] = {"count": len(jumps), "first": listed}
    answer["bad_quality"] = _bad([])
    return answer


def _bad(spans: Sequence[tuple[pd.Timestamp, pd.Timestamp]]) -> dict[str, Any]:
    """Spans of bad quality, the longest first."""
    longest = sorted(spans, key=lambda span: span[0] - span[1])[:LISTED]
    return {
        "count": len(spans),
        "total_s": float(sum((b - a).total_seconds() for a, b in spans)),
        "longest": [{"start": a.isoformat(), "end": b.isoformat()} for a, b in longest],
    }


def _ahead(uploads: Iterable[Upload]) -> list[str]:
    """Uploads with rows of times that had not come yet when they were stored."""
    limit = pd.Timedelta(seconds=anomalies.AHEAD_S)
    found = [u for u in uploads if u.receipt.last_time and pd.Timestamp(u.receipt.last_time) > u.at + limit]
    return [upload.receipt.upload for upload in found][:LISTED]


def _spans(telemetry: Telemetry, where: np.ndarray, apart: np.ndarray | None = None) -> dict[str, Any]:
    """The spans of rows where something holds, the longest first; `apart` splits spans where its value changes."""
    if not where.any():
        return {"count": 0, "rows": 0, "longest": []}
    breaks = (where[1:] != where[:-1]) | (np.diff(telemetry.run) != 0)
    if apart is not None:
        breaks |= apart[1:] != apart[:-1]
    starts = np.flatnonzero(np.r_[True, breaks])
    length = np.diff(np.r_[starts, len(where)])
    starts, length = starts[where[starts]], length[where[starts]]
    worst = np.argsort(-length, kind="stable")[:LISTED]
    listed = [
        {
            "start": _iso(telemetry.times[starts[i]]),
            "end": _iso(telemetry.times[starts[i] + length[i] - 1]),
            "rows": int(length[i]),
        }
        for i in worst
    ]
    return {"count": len(starts), "rows": int(where.sum()), "longest": listed}


def _uploads(uploads: Iterable[Upload]) -> dict[str, int]:
    """Sums over the receipts of the uploads that were not taken back."""
    receipts = [upload.receipt for upload in uploads]
    names = ("received", "stored", "duplicate", "replaced", "late", "rejected")
    sums = {f"rows_{name}": sum(getattr(receipt, f"rows_{name}") for receipt in receipts) for name in names}
    return {"count": len(receipts), **sums, "cells_rejected": sum(receipt.cells_rejected for receipt in receipts)}


def _warnings(tags: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    """What an engineer should look at, in sentences."""
    found = []
    for name, tag in tags.items():
        if tag["coverage"] < 0.9:
            found.append(_warning("missing", name, f"only {tag['coverage']:.0%} of the rows have a value"))
        if tag["constant"] and tag["role"] != Role.MV:
            found.append(_warning("constant", name, f"never changes from {tag['min']:g} {tag['unit']}"))
        if tag["frozen"]["count"]:
            found.append(_warning("frozen", name, f"held one value suspiciously long {tag['frozen']['count']} times"))
        outside = tag["below_range"]["rows"] + tag["above_range"]["rows"]
        if outside:
            found.append(_warning("out_of_range", name, f"{outside} rows lie outside its range"))
        if tag["spikes"]["count"]:
            found.append(_warning("spikes", name, f"{tag['spikes']['count']} spikes of a few rows each"))
        for jump in tag["level_shifts"]["first"][:1]:
            levels = f"from {jump['before']:.4g} to {jump['after']:.4g} {tag['unit']} at {jump['at']}"
            why = f", as if {jump['unit']} had been sent" if jump["unit"] else ", for good: another range or unit?"
            found.append(_warning("level_shift", name, f"jumps {levels}{why}"))
        if tag["bad_quality"]["count"]:
            spans, seconds = tag["bad_quality"]["count"], tag["bad_quality"]["total_s"]
            found.append(_warning("bad_quality", name, f"was sent with bad quality in {spans} spans, {seconds:g} s"))
    return found


def _of_clock(clock: Mapping[str, Any], period_s: float) -> list[dict[str, str]]:
    """What is odd about the times."""
    told = []
    usual = clock["usual_period_s"]
    if usual is not None and abs(usual - period_s) > anomalies.OFF_PERIOD * period_s:
        told.append(("period", f"rows come every {usual:g} s, the plant is described with {period_s:g} s"))
    if clock["jittery_rows"]:
        told.append(("jitter", f"{clock['jittery_rows']} rows lie more than a quarter of a period off the grid"))
    if clock["hours"]:
        told.append(("hour", f"gaps of just one hour, as of a clock put forward, the first at {clock['hours'][0]}"))
    if clock["uploads_ahead"]:
        named = ", ".join(clock["uploads_ahead"][:3])
        told.append(("clock_ahead", f"rows of times that were still to come, in upload {named}: a clock is ahead"))
    return [{"code": code, "tag": "", "detail": f"times: {detail}"} for code, detail in told]


def _warning(code: str, tag: str, detail: str) -> dict[str, str]:
    return {"code": code, "tag": tag, "detail": f"{tag}: {detail}"}


def _iso(time: np.datetime64) -> str:
    return pd.Timestamp(time, tz="UTC").isoformat()
