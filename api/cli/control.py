"""The report of a controller on the terminal."""

from __future__ import annotations

from typing import Any

from api.cli import show


def show_report(report: dict[str, Any]) -> None:
    """Tables for a person; `--json` has everything."""
    if not report["cycles"]:
        show.console.print("no controller has run in this span")
        return
    rows: list[tuple[str, Any]] = [
        ("cycles", report["cycles"]),
        ("missed", report["missed"]),
        ("service factor", _percent(report["service_factor"])),
        *_timing(report["timing"]),
        *((f"in {mode}", count) for mode, count in report["by_mode"].items() if count),
        *((f"failed: {code}", count) for code, count in report["faults"].items()),
    ]
    show.table([f"{report['start']} to {report['end']}", ""], rows)
    if report["mvs"]:
        columns = ("at_low", "at_high", "at_rate", "held", "clamped")
        table = [[mv, *(_percent(item[c]) for c in columns)] for mv, item in report["mvs"].items()]
        show.table(["MV", *columns], table)
    if report["overrides"]:
        fields = ("at", "event", "to", "by", "reason")
        show.table(fields, [[item[f] for f in fields] for item in report["overrides"]], "ends of closed loop")
    if report["prediction"]:
        lines = [(cv, item["bias"], item["rmse"], item["rows"]) for cv, item in report["prediction"].items()]
        show.table(["CV", "bias", "RMSE", "rows"], lines, "next row, value minus forecast")
    sides = [
        (side, item["rows"], item["mean_cost"]) for side, item in report["benefit"].items() if item and "_" not in side
    ]
    show.table(["cost of a row", "rows", "mean"], sides, "closed loop against shadow; other times, other disturbances")


def _timing(timing: dict[str, Any]) -> list[tuple[str, str]]:
    """Start after due, duration and late plans."""
    names = {"jitter_s": "begun after due", "took_s": "taken by a cycle"}
    rows = [
        (f"{what}, p50 and p99", f"{timing[name]['p50']:.3f} and {timing[name]['p99']:.3f} s")
        for name, what in names.items()
        if timing[name]
    ]
    return [*rows, ("late plans", str(timing["late"]))]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
