"""What telemetry can show of each MV → CV effect: a verdict with reasons, from how the MVs moved and what members say.

Direct identification of a plant in closed loop needs inputs that move on their own: what a controller does in answer
to the CVs carries no news of the effect of the MV on them (Ljung, System Identification, 2nd ed., 1999, chapter 13).
MVs that keep a combination of themselves constant show their effects only along the directions they moved in.
Ranges of gains are those of `twin.responses`: each member was fitted without one block of the telemetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.artifact import Twin
from twin.excitation import ECHO, FEW, REACTION, excitation
from twin.responses import jackknife, member_responses
from twin.telemetry import Telemetry

NEGLIGIBLE = 0.1  # deviations of a CV by one deviation of an MV: an effect surely below it counts as none, and as known
ORDER = ("identifiable", "weak", "unidentifiable")

Reason = dict[str, str]


def identifiability(twin: Twin, telemetry: Telemetry) -> dict[str, Any]:
    """The verdict on each effect.

    Args:
        twin: a trained twin.
        telemetry: what it was trained on.

    Returns:
        JSON: mvs {MV: {verdict, reasons}} (what holds for all its effects), effects {MV: {CV: {verdict, reasons,
        gain}}} with verdict one of identifiable, weak, unidentifiable, reasons [{code, detail}], the worst first, and
        tied [{weights, constant, std, span}]: combinations of MVs that never changed.
    """
    moved = excitation(telemetry)
    answers = member_responses(twin)[:, :, -1]  # (members, MVs, CVs)
    mean, low, high = jackknife(answers)
    unit = twin.scaler.y_scale / twin.scaler.w_scale[: len(twin.plant.mvs), None]
    mvs = {tag.name: _of_mv(tag.name, moved["mvs"][tag.name], moved["tied_mvs"]) for tag in twin.plant.mvs}
    effects: dict[str, Any] = {}
    signs = twin.card.get("gain_sign", {"effects": {}})["effects"]
    for i, mv in enumerate(twin.plant.mvs):
        effects[mv.name] = {}
        for j, cv in enumerate(twin.plant.cvs):
            ends = low[i, j] / unit[i, j], high[i, j] / unit[i, j]
            found = _of_gain(ends, np.sign(answers[:, i, j])) if _moves(mvs[mv.name]) else []
            found += _of_sign(signs.get(mv.name, {}).get(cv.name))
            gain = {"mean": float(mean[i, j]), "low": float(low[i, j]), "high": float(high[i, j])}
            known = gain if _moves(mvs[mv.name]) else None
            effects[mv.name][cv.name] = {**_verdict([*mvs[mv.name], *found]), "gain": known}
    return {
        "mvs": {name: _verdict(reasons) for name, reasons in mvs.items()},
        "effects": effects,
        "tied": [{**tie, "span": _span(tie["weights"], twin)} for tie in moved["tied_mvs"]],
    }


WORST = {"never_moved": 2, "tied": 2, "echo": 2, "sign_broken": 2, "sign_bound": 2}
WORST |= {"few_moves": 1, "feedback": 1, "sign": 1, "gain_contains_zero": 1}


def _verdict(reasons: list[Reason]) -> dict[str, Any]:
    """The worst that the reasons allow, and the reasons, worst first."""
    ordered = sorted(reasons, key=lambda reason: -WORST[reason["code"]])
    return {"verdict": ORDER[max((WORST[r["code"]] for r in ordered), default=0)], "reasons": ordered}


def _of_mv(name: str, moved: Mapping[str, Any], tied: list[dict[str, Any]]) -> list[Reason]:
    """What speaks against every effect of one MV."""
    found = []
    moves, echo = moved["moves"], moved["feedback_r2"]
    if not moves:
        return [_reason("never_moved", f"{name} never moved")]
    for tie in tied:
        if name in tie["weights"]:
            sums = " + ".join(f"{weight:g} {tag}" for tag, weight in tie["weights"].items())
            found.append(_reason("tied", f"{sums} stayed at {tie['constant']:g}: {name} never moved against it"))
    if echo is not None and echo > ECHO:
        found.append(_reason("echo", f"{name} only follows the CVs: {echo:.0%} of its moves can be told from them"))
    elif echo is not None and echo > REACTION:
        found.append(_reason("feedback", f"{echo:.0%} of the moves of {name} follow the CVs"))
    if moves < FEW:
        found.append(_reason("few_moves", f"{name} moved only {moves} times"))
    return found


def _of_gain(ends: tuple[float, float], signs: np.ndarray) -> list[Reason]:
    """What the range of a gain (model units) and the signs of the members say."""
    low, high = ends
    if max(abs(low), abs(high)) < NEGLIGIBLE or not low <= 0 <= high:
        return []
    if len(set(signs.tolist())) > 1:
        ups = int((signs > 0).sum())
        return [_reason("sign", f"{ups} of {len(signs)} members, each without a part of the rows, say it is positive")]
    return [_reason("gain_contains_zero", "the range of its gain contains zero")]


def _of_sign(found: Mapping[str, Any] | None) -> list[Reason]:
    """What became of a sign that was asked for."""
    if found is None or found["status"] not in ("broken", "bound"):
        return []
    return [_reason(f"sign_{found['status']}", f"the sign asked for is {found['asked']:+d}: {found['why']}")]


def _moves(reasons: list[Reason]) -> bool:
    return all(reason["code"] != "never_moved" for reason in reasons)


def _reason(code: str, detail: str) -> Reason:
    return {"code": code, "detail": detail}


def _span(weights: Mapping[str, float], twin: Twin) -> float:
    """How far the combination would have come, had its MVs moved as they did but each for itself."""
    scale = {tag.name: twin.scaler.w_scale[i] for i, tag in enumerate(twin.plant.mvs)}
    return float(np.sqrt(sum((weight * scale[name]) ** 2 for name, weight in weights.items())))
