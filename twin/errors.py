"""Everything this library raises.

TwinError
├── PlantError        the description of a plant contradicts itself
├── TelemetryError    telemetry that cannot be read or put on a grid
│   └── HistoryError  too little history before `at`, or holes that cannot be bridged
├── QuestionError     a question no twin could answer: an unknown tag, a move for a CV, a horizon of zero
├── NotFoundError     no plant, upload, twin or job of that name
├── ConflictError     the thing exists already, or changed since it was read
├── StoreError        the telemetry store cannot be read or written
├── TrainingError     training cannot start or cannot go on
│   └── Cancelled     it was asked to stop
├── FederationError   sites that cannot be made one: too few, clashing units, a vector that is refused
└── ArtifactError     a stored twin that is damaged, foreign or of another format

An infeasible plan is no error: it is a status (`twin.optimize`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where (`loc`, a path into what was given) and what (`msg`)."""

    loc: Location
    msg: str


class TwinError(Exception):
    """The base: a sentence that says what was wrong and what to do, and the problems one by one."""

    def __init__(self, detail: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = tuple(problems)

    @classmethod
    def at(cls, loc: Location, msg: str) -> TwinError:
        """An error about one place."""
        return cls(f"{'.'.join(map(str, loc))}: {msg}" if loc else msg, [Problem(loc, msg)])


class PlantError(TwinError):
    """The description of a plant contradicts itself."""


class TelemetryError(TwinError):
    """Telemetry that cannot be read or put on a grid."""


class HistoryError(TelemetryError):
    """Too little history before `at`, or holes that cannot be bridged."""


class QuestionError(TwinError):
    """A question no twin could answer."""


class NotFoundError(TwinError):
    """There is nothing of that name."""


class ConflictError(TwinError):
    """The thing exists already, or changed since it was read."""


class StoreError(TwinError):
    """The telemetry store cannot be read or written."""


class TrainingError(TwinError):
    """Training cannot start or cannot go on."""


class Cancelled(TrainingError):
    """Training was asked to stop."""


class FederationError(TwinError):
    """Sites that cannot be made one: too few, clashing units, a vector that is refused."""


class ArtifactError(TwinError):
    """A stored twin that is damaged, foreign or of another format."""
