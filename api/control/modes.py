"""The modes of a running controller and what leads from one to another: pure functions over one table.

NAMUR NE 194 (2024) asks an external application for a state machine with a defined way on and off, a watchdog,
validity checks and a fall-back. These are its modes and ways here:

| from \\ event | off | shadow | advisory | closed | override | shed | ramp | restart |
|---|---|---|---|---|---|---|---|---|
| **off** | off | shadow | advisory | refused | off | off | off | off |
| **shadow** | off | shadow | advisory | closed, if permitted | shadow | shadow | shadow | shadow |
| **advisory** | off | shadow | advisory | closed, if permitted | advisory | advisory | advisory | advisory |
| **closed** | off | shadow | advisory | closed | advisory | shadow | shedding | shadow |
| **shedding** | off | shadow | advisory | refused | advisory | shadow | shedding | shadow |

`closed` is permitted where somebody with the scope `control` confirmed it, the controller's configuration allows it
and its last cycle was good; where it gave up by itself, its last `return_cycles`. No other way leads there, a restart
least of all. A controller that gives up by itself takes the event `ramp` where MVs have safe values that it can still
lead them to, and `shed` otherwise. Every way out of `closed` and `shedding` hands the MVs back to the base layer first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """What a controller does with its plan."""

    OFF = "off"  # computes nothing
    SHADOW = "shadow"  # computes and logs
    ADVISORY = "advisory"  # shows what it would move
    CLOSED = "closed"  # writes
    SHEDDING = "shedding"  # leads the MVs to their safe values, then hands them back


class Event(StrEnum):
    """What can change the mode."""

    OFF = "off"  # the first four: somebody asks for that mode
    SHADOW = "shadow"
    ADVISORY = "advisory"
    CLOSED = "closed"
    OVERRIDE = "override"  # the operator takes over at the plant
    SHED = "shed"  # the controller gives up by itself
    RAMP = "ramp"  # the same, by way of the safe values
    RESTART = "restart"


@dataclass(frozen=True)
class Permit:
    """What `closed` needs, all of it.

    Attributes:
        scope: whoever asks has the scope `control`.
        confirmed: they confirmed it for this plant, and not long ago.
        allowed: the configuration has `closed_loop_allowed = true`.
        ready: the last cycle was good; after it gave up by itself, the last `return_cycles` were.
    """

    scope: bool = False
    confirmed: bool = False
    allowed: bool = False
    ready: bool = False

    def missing(self) -> str:
        """What it lacks, in words; nothing where it is complete."""
        lacks = {
            "the scope control": self.scope,
            "a confirmation of this moment": self.confirmed,
            "closed_loop_allowed = true in the controller's configuration": self.allowed,
            "a good last cycle, or several in a row after it gave up": self.ready,
        }
        return ", ".join(what for what, there in lacks.items() if not there)


class RefusedModeError(Exception):
    """The mode does not change, and why."""


_OFF, _SHADOW, _ADVISORY, _CLOSED, _SHEDDING = Mode
WRITING = (_CLOSED, _SHEDDING)  # no other mode writes to MVs
TABLE: dict[Mode, dict[Event, Mode | None]] = {
    mode: {
        Event.OFF: _OFF,
        Event.SHADOW: _SHADOW,
        Event.ADVISORY: _ADVISORY,
        Event.CLOSED: None if mode in (_OFF, _SHEDDING) else _CLOSED,
        Event.OVERRIDE: _ADVISORY if mode in WRITING else mode,
        Event.SHED: _SHADOW if mode in WRITING else mode,
        Event.RAMP: _SHEDDING if mode in WRITING else mode,
        Event.RESTART: _SHADOW if mode in WRITING else mode,
    }
    for mode in Mode
}


def after(mode: Mode, event: Event, permit: Permit = Permit()) -> Mode:
    """The mode that an event leads to.

    Raises:
        RefusedModeError: `closed` was asked for and is not permitted.
    """
    following = TABLE[mode][event]
    if following is None:
        told = f"from {mode}, go to shadow or advisory first: what has not been computed cannot be written"
        raise RefusedModeError(told)
    if following is Mode.CLOSED and mode is not Mode.CLOSED and permit.missing():
        raise RefusedModeError(f"closed needs {permit.missing()}")
    return following
