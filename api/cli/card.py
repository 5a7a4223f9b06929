"""A model card, and the quality of telemetry, on the terminal."""

from __future__ import annotations

from typing import Any

from api.cli import show


def show_card(card: dict[str, Any]) -> None:
    """Print the backtest, the gains and the summary; the page (`--html`) has the plots."""
    backtest = card["backtest"]
    peers = list(next(iter(backtest["cvs"].values()))["rmse"])
    columns = ["CV", "unit", "rows ahead", *(f"RMSE {peer}" for peer in peers)]
    rows = [
        [name, cv["unit"], k, *(cv["rmse"][peer][k - 1] for peer in peers)]
        for name, cv in backtest["cvs"].items()
        for k in backtest["horizons"]
    ]
    show.table(columns, rows, f"backtest on {backtest['windows']} windows, {backtest['how']}")
    responses = card["step_responses"]
    gains = [
        [
            mv,
            cv,
            *((gain or {}).get(k) for k in ("mean", "low", "high")),
            responses["gain_units"][mv][cv].replace("delta_", ""),
        ]
        for mv, of_mv in responses["gains"].items()
        for cv, gain in of_mv.items()
    ]
    known = card.get("identifiability", {"effects": {}})
    for line in gains:
        line.append(known["effects"].get(line[0], {}).get(line[1], {}).get("verdict"))
    show.table(["MV", "CV", "gain", "low", "high", "unit", "verdict"], gains, "gains")
    for line in card.get("summary", ()):  # a service of before has none
        show.console.print(line, markup=False, highlight=False)


def show_quality(found: dict[str, Any]) -> None:
    """Print what the telemetry is worth: tags, gaps, excitation of each MV, warnings."""
    show.console.print(f"{found['rows']} rows, {found['start']} to {found['end']}", markup=False, highlight=False)
    tags = [
        [name, t["role"], t["unit"], f"{t['coverage']:.1%}", *(t.get(k) for k in ("min", "mean", "max")), *_spans(t)]
        for name, t in found["tags"].items()
    ]
    show.table(["tag", "role", "unit", "coverage", "min", "mean", "max", "frozen", "out of range"], tags)
    ready = found["readiness"]
    if ready["can_train"]:
        used, windows, dropped = ready["rows_used"], ready["windows"], ready["rows_dropped"]
        text = f"training would use {used} rows in {windows} windows and drop {dropped}"
    else:
        text = f"training cannot start: {ready['why']}"
    show.console.print(text, markup=False, highlight=False)
    gaps = found["gaps"]
    if gaps["count"]:
        rows = [[gap["start"], gap["end"], gap["seconds"]] for gap in gaps["longest"][:5]]
        show.table(["from", "to", "seconds"], rows, f"{gaps['count']} gaps, the longest")
    mvs = [[mv, of["moves"], of["range_used"], of["feedback_r2"], of["verdict"]] for mv, of in found["mvs"].items()]
    show.table(["MV", "moves", "share of its range", "explained by feedback", "verdict"], mvs, "excitation")
    for warning in found["warnings"]:
        show.console.print(warning["detail"], style="yellow", markup=False, highlight=False)


def _spans(tag: dict[str, Any]) -> list[int]:
    """Rows that are frozen, and rows out of range."""
    return [tag["frozen"]["rows"], tag["below_range"]["rows"] + tag["above_range"]["rows"]]
