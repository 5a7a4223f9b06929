"""The model card in a few sentences: what a twin is good for and what it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

STATUS = {"kept": "kept", "bound": "kept against the rows", "broken": "BROKEN", "unknown": "unknown"}
PEERS = {"persistence": "persistence", "arx": "ARX"}


def short(value: float | None) -> str:
    """Three significant digits, as a person reads them; a million and more with an exponent."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if 999.5 <= abs(value) < 1e6 else f"{value:.3g}"


def summary(card: dict[str, Any]) -> list[str]:
    """Sentences, in the order of a reader's questions: errors, bands, corrections, DVs, what the telemetry cannot show.

    Args:
        card: of a twin (`twin.evaluate.report`).
    """
    backtest = card["backtest"]
    lines = [f"Backtest on {backtest['windows']} windows, {backtest['how']}."]
    for peer, name in PEERS.items():
        ratio = [_mean(cv["rmse"]["twin"]) / max(_mean(cv["rmse"][peer]), 1e-300) for cv in backtest["cvs"].values()]
        better, median = sum(r < 1 for r in ratio), float(np.median(ratio))
        lines.append(
            f"Against {name}: better on {better} of {len(ratio)} CVs;"
            f" its mean error over the horizon is {median:.2f} of {name}'s (median CV)."
        )
    covered = [(cv["coverage"]["measured"], cv["rmse"]["twin"]) for cv in backtest["cvs"].values()]
    # A row in which a CV was never measured has both its coverage and its error as 0.
    measured = np.mean([share for cv in covered for share, error in zip(*cv, strict=True) if share > 0 or error > 0])
    asked = next(iter(backtest["cvs"].values()))["coverage"]["asked"]
    lines.append(f"Bands asked to hold {asked:.0%} of the values held {measured:.1%} out of fold.")
    lines.append(card["training"]["residual"]["why"])
    if "common" in card["training"]:
        lines.append(_common(card["training"]["common"]))
    lines.append(_correction(card["training"]["correction"]))
    lines += [*_disturbances(card)]
    lines += [f"Effect of {name} unknown: {why}." for name, why in card["unknown_effects"].items()]
    lines += [*_signs(card)]
    sampling = card["training"].get("sampling", {"errors": []})
    lines += [sampling["why"]] if sampling["errors"] else []
    lines += [*_doubts(card)]
    return lines


def _doubts(card: dict[str, Any]) -> Iterator[str]:
    """What the telemetry cannot show, MV by MV, a sentence for each reason."""
    known = card.get("identifiability", {"mvs": {}, "tied": []})
    for name, found in known["mvs"].items():
        told = [r["detail"] for r in found["reasons"] if r["code"] not in ("never_moved", "tied")]
        if told:
            yield f"Effects of {name} are {found['verdict']}: {'; '.join(told)}."
    for tie in known["tied"]:
        sums = " + ".join(f"{weight:g} {name}" for name, weight in tie["weights"].items())
        yield f"{sums} stayed at {tie['constant']:.4g}: only moves that keep that sum have been seen."


def _disturbances(card: dict[str, Any]) -> Iterator[str]:
    """What is expected of each DV whose course nobody announces."""
    for name, found in card.get("disturbances", {}).items():
        if found["order"]:
            share = found["error"] / max(found["held"], 1e-300)
            yield (
                f"{name}, where nobody says what it will do, is expected to return to its mean as in training:"
                f" out of fold the error of that is {share:.2f} of holding its last value."
            )
        else:
            yield f"{name}, where nobody says what it will do, is expected to hold its last value."


def _signs(card: dict[str, Any]) -> Iterator[str]:
    """Signs of gains that were asked for: those that need a word, and the others together."""
    kept = []
    for mv, of_mv in card.get("gain_sign", {"effects": {}})["effects"].items():
        for cv, found in of_mv.items():
            if found["status"] == "kept" and "taken" not in found["why"]:
                kept.append(f"{mv} → {cv} ({found['asked']:+d})")
            else:
                sign = f"Sign {found['asked']:+d}" if found["asked"] else "No effect"
                yield f"{sign} of {mv} → {cv} is {STATUS[found['status']]}: {found['why']}."
    if kept:
        points = card["gain_sign"]["points"]
        yield f"Signs kept at all of {points} operating points, by every member: {', '.join(kept)}."


def _common(common: dict[str, Any]) -> str:
    """Whether what other units, or other sites, have learnt was of help."""
    helps = common["kept"] == "common"
    if "consensus" not in common:
        kept = "It starts from its fleet" if helps else "Its fleet was of no help"
        return f"{kept} ({common['units']} units): {common['why']}."
    of_sites = f"consensus of sites {common['consensus']}"
    if not helps:
        return f"The {of_sites} was of no help: {common['why']}."
    seen = "Where this site took part, that has seen these rows: errors and bands are a little too small."
    return f"It starts from the {of_sites}: {common['why']}. {seen}"


def _correction(correction: dict[str, Any]) -> str:
    share, told = correction["share"], dict(zip(correction["shares"], correction["errors"], strict=True))
    beyond = "" if correction["outside"] == share else f" Outside of the trained region {correction['outside']:.0%} is."
    if not share:
        why = "Forecasts are not corrected for the constant error of the last rows: out of fold that does not help."
        return why + beyond
    return (
        f"Forecasts are corrected for {share:.0%} of the constant error of the last rows,"
        f" which brings the out-of-fold error to {told[share]:.2f} of that without.{beyond}"
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
