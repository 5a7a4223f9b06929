"""The `[control]` table of a plant's file: what a controller wants, what it may move, and what it must see.

[control]
horizon_s = 300
closed_loop_allowed = false      # until somebody decides otherwise, nothing is ever written

[control.setpoints]
level_1 = {value = 14.0}

[control.mvs.pump_1]
high = 3.5                       # inside the plant's limits
mode_tag = "pump_1.mode"         # 1: the loop takes our setpoint

[control.watchdog]
tag = "twin.heartbeat"
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Table(BaseModel):
    """A table of the file: an unknown key is an error, and so is text in place of a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class SetpointTable(Table):
    """The target of a CV; `low` and `high` are how far an operator may move it while the controller runs."""

    value: float
    weight: float = Field(default=1.0, ge=0)
    low: float | None = None
    high: float | None = None


class LimitTable(Table):
    """An operating limit of a CV, inside the plant's."""

    low: float | None = None
    high: float | None = None
    rank: int | None = Field(default=None, ge=1, le=100)
    hard: bool | None = None


class MvTable(Table):
    """One MV that may be moved.

    Args:
        low, high, rate_per_s: inside the plant's limits; the plant's by default.
        mode_tag: says whether the loop below takes our value.
        remote: values of the mode tag for which it does.
        critical: without it the controller sheds; otherwise it goes on with the others.
        tolerance: how far the value read back may lie from the one written; a thousandth of the span by default.
        safe: where the controller leads it at its rate limit, before it hands back, when it ends closed loop by itself;
            without it the MV stays where it is.
    """

    low: float | None = None
    high: float | None = None
    rate_per_s: float | None = Field(default=None, gt=0)
    mode_tag: str | None = None
    remote: list[float] = Field(default=[1.0], min_length=1)
    critical: bool = False
    tolerance: float | None = Field(default=None, gt=0)
    safe: float | None = None


class InputTable(Table):
    """What is asked of one measured tag.

    Args:
        critical: without it the controller sheds. By default true of a CV with a setpoint, false of all others.
        max_age_s: of its time stamp; the controller's by default.
        low, high: of the instrument; the plant's by default.
        max_step: largest credible change of a cycle; a larger one is a spike.
        frozen_after_s: so long the same value to the last bit means that the sensor is frozen.
    """

    critical: bool | None = None
    max_age_s: float | None = Field(default=None, gt=0)
    low: float | None = None
    high: float | None = None
    max_step: float | None = Field(default=None, gt=0)
    frozen_after_s: float | None = Field(default=None, gt=0)


class WatchdogTable(Table):
    """The heartbeat: a number that counts up to `wraps` and begins again, in every cycle that is closed."""

    tag: str
    wraps: int = Field(default=32_768, ge=2)


class Settings(Table):
    """The `[control]` table.

    Args:
        twin: the id of a twin, or an alias.
        closed_loop_allowed: without it no request, whoever makes it, leads to `closed`.
        start_mode: after a start; a start never leads to `closed`.
        write_within_s: after a cycle is due; a later plan is not written. Half the period by default.
        max_age_s: of a time stamp; three periods by default.
        patience: so many cycles that fail in a row shed.
        critical_patience: so many cycles in a row with a bad critical input shed; in those before nothing is written.
        return_cycles: a tag that dropped out counts again after so many good cycles in a row; so many are needed before
            closed loop can be confirmed again, after the controller gave up by itself.
        min_trust: of the plan (`trust.score`).
        accept_relaxed: whether a plan that cannot keep every CV limit is written: it breaks them least.
        follow_twin: whether a new champion is followed while closed; otherwise it must be confirmed.
        confirm_within_s: a confirmation is good for so long.
        poll_s: how often the wanted mode is asked for between cycles.
        journal: the folder of the cycle log, beside the file.
        permissives: tag → the value that it must have; another one is the operator's override.
        release: tag → what is written to hand the MVs back, whenever `closed` ends.
    """

    horizon_s: float = Field(gt=0)
    twin: str = "champion"
    closed_loop_allowed: bool = False
    start_mode: Literal["off", "shadow", "advisory"] = "shadow"
    write_within_s: float | None = Field(default=None, gt=0)
    max_age_s: float | None = Field(default=None, gt=0)
    control_horizon_s: float | None = Field(default=None, gt=0)
    coverage: float = Field(default=0.95, gt=0, lt=1)
    patience: int = Field(default=3, ge=1)
    critical_patience: int = Field(default=2, ge=1)
    return_cycles: int = Field(default=3, ge=1)
    min_trust: float = Field(default=0.1, ge=0, le=1)
    accept_relaxed: bool = True
    follow_twin: bool = False
    confirm_within_s: float = Field(default=60.0, gt=0)
    poll_s: float = Field(default=2.0, gt=0)
    journal: str = "control-log"
    setpoints: dict[str, SetpointTable] = {}
    prices: dict[str, float] = {}
    move_suppression: dict[str, float] = {}
    limits: dict[str, LimitTable] = {}
    mvs: dict[str, MvTable] = Field(min_length=1)
    inputs: dict[str, InputTable] = {}
    watchdog: WatchdogTable | None = None
    permissives: dict[str, float] = {}
    release: dict[str, float] = {}
