"""Gain signs: what an engineer knows of the effect of an MV on a CV, whatever the telemetry seems to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from twin.errors import Location, Problem, QuestionError
from twin.plant import Plant, Role, near

SIGNS = (-1, 0, 1)
AT: Location = ("options", "gain_sign")


def signs(plant: Plant, asked: Mapping[str, Any], loc: Location = AT) -> np.ndarray:
    """(MVs, CVs) float64: 1, -1, 0 (no effect), or NaN where nothing is asked.

    Args:
        asked: {MV: {CV: 1, -1 or 0}}.
        loc: where it was asked.

    Raises:
        QuestionError: a tag is unknown or has another role, or a value is none of the three; all of them are named.
    """
    found = np.full((len(plant.mvs), len(plant.cvs)), np.nan)
    problems = []
    if not isinstance(asked, Mapping):
        raise QuestionError.at(loc, "an object of MVs, each with an object of CVs and their signs")
    for mv, of_mv in asked.items():
        problem = _wrong_tag(plant, mv, Role.MV)
        if problem is not None or not isinstance(of_mv, Mapping):
            problems.append(Problem((*loc, mv), problem or "an object of CVs and their signs: 1, -1 or 0"))
            continue
        for cv, sign in of_mv.items():
            problem = _wrong_tag(plant, cv, Role.CV)
            if problem is None and (isinstance(sign, bool) or sign not in SIGNS):
                problem = f"{sign!r} is no sign: 1, -1, or 0 for no effect"
            if problem is not None:
                problems.append(Problem((*loc, mv, cv), problem))
                continue
            row, column = plant.mvs.index(plant.tag(mv)), plant.cvs.index(plant.tag(cv))
            found[row, column] = sign
    if problems:
        raise QuestionError(f"{'.'.join(map(str, problems[0].loc))}: {problems[0].msg}", problems)
    return found


def asked_of(card: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """{MV: {CV: sign}} that were asked of the twin with this card."""
    effects = card.get("gain_sign", {"effects": {}})["effects"]
    return {mv: {cv: found["asked"] for cv, found in of_mv.items()} for mv, of_mv in effects.items()}


def _wrong_tag(plant: Plant, name: str, role: Role) -> str | None:
    if name not in plant.names:
        return f"unknown tag '{name}'{near(str(name), plant.names)}"
    if plant.tag(name).role is not role:
        return f"{name} is a {plant.tag(name).role.upper()}; a gain leads from an MV to a CV"
    return None
