"""One controller: its mode, and one cycle after another."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from api.control.actuator import Actuator, WriteFault
from api.control.clock import NS, Clock
from api.control.configuration import Configuration, setpoints
from api.control.inputs import Inputs, Snapshot
from api.control.journal import Journal, JournalError
from api.control.link import LinkError, Planner
from api.control.modes import WRITING, Event, Mode, Permit, after
from api.control.question import aimless, question
from api.control.ramp import ramp
from api.control.record import clamped, outlook, stage_cost
from api.control.rows import Rows, iso
from api.control.verify import doubts_of_answer, doubts_of_moves
from api.control.watchdog import Watchdog

PLANNER_SHARE = 0.8  # of the time that is left, which the planner may use; the rest is the way there and back


@dataclass
class Decision:
    """How far a cycle came.

    Attributes:
        fault: (code, detail) of what stopped it, None where its plan may be written.
        answer: of the planner.
        moves: MV → value, of those that may be moved.
    """

    fault: tuple[str, str] | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    moves: dict[str, float] = field(default_factory=dict)


class Controller:
    """Reads, checks, asks, verifies and, in `closed` alone, writes; its last moves are the way to the safe values.

    Args:
        mode: to begin with; a controller never begins closed.
        tell: is given every record: cycles and changes of mode.
    """

    def __init__(
        self,
        configuration: Configuration,
        inputs: Inputs,
        planner: Planner,
        actuator: Actuator,
        journal: Journal,
        clock: Clock,
        mode: Mode = Mode.SHADOW,
        tell: Callable[[dict[str, Any]], None] = lambda record: None,
    ) -> None:
        self._configuration, self._inputs, self._planner = configuration, inputs, planner
        self._actuator, self._journal, self._clock, self.tell = actuator, journal, clock, tell
        self.settings = settings = configuration.settings
        self.mode = after(mode, Event.RESTART)
        self.why = "started"
        self.run = secrets.token_hex(6)
        self.changed: dict[str, float] = {}  # setpoints, by the operator
        self.rows = Rows(configuration.plant.names, configuration.period_s)
        self.last: dict[str, Any] = {}
        self._watchdog = Watchdog(settings.patience, settings.critical_patience)
        self._number = 0
        self._since = clock.now()
        self._good = 0  # good cycles in a row
        self._needed = 1  # of them, before closed loop may be asked for
        self._twin: str | None = None  # that closed loop was confirmed for
        self._forecast: dict[str, float] = {}  # of the next row
        self._written: dict[str, float] = {}  # in the last cycle

    async def cycle(self, due: float, missed: int = 0) -> dict[str, Any]:
        """One cycle, due at a steady time; its record.

        Args:
            due: s, on the clock's steady scale.
            missed: cycles since the last one that never began.
        """
        began, now = self._clock.steady(), self._clock.now()
        at = now - round((began - due) * NS)
        limit_s = self._configuration.write_within_s - (began - due)
        snapshot = await self._inputs.take(at, now, self._forecast, self._written, self._clock.real(max(limit_s, 0.01)))
        self.rows.add(at, snapshot.row)
        self._written, self._forecast = {}, {}
        if snapshot.override and self.mode in WRITING:
            await self.change(Event.OVERRIDE, "the plant", snapshot.override)
        if self.mode is Mode.SHEDDING:
            decision = self._ramped(snapshot)
        else:
            decision = Decision() if self.mode is Mode.OFF else await self._decide(snapshot, due)
        written, read_back = await self._act(snapshot, decision, due)
        planned = self.mode not in (Mode.OFF, Mode.SHEDDING)
        self._good = self._good + 1 if planned and decision.fault is None and not snapshot.override else 0
        record = self._record(snapshot, decision, due, began) | {
            "written": written,
            "read_back": read_back,
            "missed": missed,
        }
        self.last = record
        self._log(record)
        await self._watch(snapshot, decision)
        return record

    async def request(self, mode: Mode, by: str, reason: str, scope: bool = False, confirmed: bool = False) -> None:
        """Somebody asks for a mode.

        Raises:
            RefusedModeError: `closed` is not permitted, with what is missing.
        """
        allowed = self._configuration.settings.closed_loop_allowed
        permit = Permit(scope, confirmed, allowed, self._ready)
        await self.change(Event(mode.value), by, reason, permit)

    async def change(self, event: Event, by: str, reason: str, permit: Permit = Permit()) -> None:
        """Take an event; a mode that no longer writes hands the MVs back first.

        Raises:
            RefusedModeError: it leads nowhere.
        """
        following = after(self.mode, event, permit)
        if following is self.mode:
            return
        trouble = ""
        if self.mode in WRITING and following not in WRITING:
            trouble = await self._actuator.release()
            self._written = {}
        before, self.mode, self.why, self._since = self.mode, following, reason, self._clock.now()
        if following in WRITING:
            self._watchdog = Watchdog(self._watchdog.patience, self._watchdog.critical_patience)
        if following is Mode.CLOSED:
            self._twin, self._needed = self.last.get("twin"), 1
        if event in (Event.SHED, Event.RAMP):  # behind a fault trust comes and goes before it stays
            self._good, self._needed = 0, self.settings.return_cycles
        record = {"kind": "mode", "from": before, "to": following, "event": event, "by": by, "reason": reason}
        self._log(self._head() | record | ({"release_failed": trouble} if trouble else {}))

    @property
    def _ready(self) -> bool:
        """Whether its last cycles were good enough for closed loop."""
        return self._good >= self._needed

    def set_setpoints(self, changed: Mapping[str, float], by: str) -> None:
        """New setpoints from the operator.

        Raises:
            ValueError: one is no setpoint of this controller, or outside the range it may have.
        """
        wanted = {**self.changed, **changed}
        setpoints(self._configuration.settings, wanted)
        if wanted != self.changed:
            self.changed = wanted
            self._log(self._head() | {"kind": "setpoints", "setpoints": wanted, "by": by})

    def state(self) -> dict[str, Any]:
        """What anybody may know of it now."""
        last, settings = self.last, self._configuration.settings
        shown = self.mode in (Mode.ADVISORY, Mode.CLOSED) and last.get("fault") is None
        return {
            "run": self.run,
            "mode": self.mode,
            "since": iso(self._since),
            "why": self.why,
            "closed_loop_allowed": settings.closed_loop_allowed,
            "ready": self._ready,
            "period_s": self._configuration.period_s,
            "heartbeat": self._actuator.heartbeat.count,
            "setpoints": {
                name: {**item, "low": settings.setpoints[name].low, "high": settings.setpoints[name].high}
                for name, item in setpoints(settings, self.changed).items()
            },
            "limits": {mv.name: {"low": mv.low, "high": mv.high} for mv in self._configuration.mvs if mv.moved},
            "advice": last.get("next") if shown else None,
            "last": last or None,
        }

    async def _decide(self, snapshot: Snapshot, due: float) -> Decision:
        """Ask for a plan and verify it."""
        configuration = self._configuration
        if snapshot.link:
            return Decision(("plant_lost", snapshot.link))
        if snapshot.critical:
            return Decision((snapshot.critical.code, snapshot.critical.detail))
        if told := aimless(configuration, snapshot):
            return Decision(("nothing_to_do", told))
        left_s = configuration.write_within_s - (self._clock.steady() - due)
        if left_s <= 0:
            return Decision(("late", "there is no time left to plan in"))
        wall_s = self._clock.real(left_s)
        asked = question(
            configuration, snapshot, self.rows, self.changed, self._clock.now(), 1000 * PLANNER_SHARE * wall_s
        )
        try:
            answer = await self._planner.ask(asked, wall_s)
        except LinkError as error:
            return Decision((error.code, error.detail))
        decision = Decision(answer=answer)
        self._forecast = outlook(answer, 0)
        free = [mv for mv in configuration.mvs if mv.name not in snapshot.held]
        pinned = self._twin if self.mode is Mode.CLOSED else None
        doubts = doubts_of_answer(answer, configuration.settings, snapshot.at, configuration.period_s, pinned)
        doubts = doubts or doubts_of_moves(answer.get("next"), free, snapshot.good, configuration.period_s)
        took_s = self._clock.steady() - due
        if not doubts and took_s > configuration.write_within_s:
            doubts = [("late", f"the plan came {took_s:.2f} s after the cycle was due")]
        if doubts:
            decision.fault = doubts[0]
        else:
            decision.moves = {mv.name: float(answer["next"][mv.name]) for mv in free}
        return decision

    def _ramped(self, snapshot: Snapshot) -> Decision:
        """The next moves toward the safe values."""
        if snapshot.link:
            return Decision(("plant_lost", snapshot.link))
        configuration = self._configuration
        moves = ramp(configuration.mvs, snapshot.good, snapshot.held, configuration.period_s)
        moved = [mv for mv in configuration.mvs if mv.name in moves]
        doubts = doubts_of_moves(moves, moved, snapshot.good, configuration.period_s)
        return Decision(doubts[0]) if doubts else Decision(moves=moves)

    async def _act(
        self, snapshot: Snapshot, decision: Decision, due: float
    ) -> tuple[dict[str, float] | None, dict[str, float] | None]:
        """Write, if the mode writes at this moment and the moves passed: what was written and read back."""
        if self.mode not in WRITING or decision.fault is not None:
            return None, None
        if self.mode is Mode.SHEDDING and not decision.moves:
            return None, None
        moves = decision.moves
        present = {name: snapshot.good[name] for name in moves}
        intent = self._head() | {"kind": "intent", "mode": self.mode, "moves": moves, "present": present}
        try:
            until = due + self._configuration.write_within_s
            read_back = await self._actuator.move(moves, present, snapshot.at, until, intent)
        except WriteFault as fault:
            decision.fault = (fault.code, fault.detail)
            return None, None
        if self.mode in WRITING:
            self._written = dict(moves)
        return dict(moves), read_back

    async def _watch(self, snapshot: Snapshot, decision: Decision) -> None:
        """Give up where it must be; otherwise the heart goes on beating in a cycle that wrote nothing."""
        if self.mode not in WRITING:
            return
        ramping = self.mode is Mode.SHEDDING
        code = decision.fault[0] if decision.fault else None
        told = self._watchdog.note(code, snapshot.critical is not None and not ramping)
        if told:
            detail = decision.fault[1] if decision.fault else ""
            event = Event.SHED if ramping or code == "journal" or not self._ramped(snapshot).moves else Event.RAMP
            await self.change(event, "the controller", f"{told}: {detail}" if detail else told)
        elif ramping and not decision.fault and not decision.moves:
            await self.change(Event.SHED, "the controller", self._arrived(snapshot))
        elif decision.fault:
            await self._actuator.beat()

    def _arrived(self, snapshot: Snapshot) -> str:
        """How the way to the safe values ended."""
        left = [
            f"{mv.name} ({snapshot.held.get(mv.name, 'not measured')})"
            for mv in self._configuration.mvs
            if mv.safe is not None and not abs(snapshot.good.get(mv.name, math.nan) - mv.safe) <= mv.tolerance
        ]
        return "the safe values are reached" + (f", but for {', '.join(left)}" if left else "")

    def _head(self) -> dict[str, Any]:
        """What every record begins with; records of a run are numbered."""
        self._number += 1
        return {"run": self.run, "n": self._number, "at": iso(self._clock.now())}

    def _record(self, snapshot: Snapshot, decision: Decision, due: float, began: float) -> dict[str, Any]:
        answer = decision.answer
        stepped_s = self._clock.stepped_s()
        findings = [finding.to_json() for finding in snapshot.findings]
        if snapshot.override:
            findings.append({"code": "override", "tag": None, "detail": snapshot.override, "critical": False})
        if stepped_s:
            told = f"the wall clock has stepped by {stepped_s:.1f} s; cycles go on by the steady one"
            findings.append({"code": "clock_stepped", "tag": None, "detail": told, "critical": False})
        fault = decision.fault and {"code": decision.fault[0], "detail": decision.fault[1]}
        return self._head() | {
            "kind": "cycle",
            "at": iso(snapshot.at),
            "mode": self.mode,
            "ok": decision.fault is None,
            "fault": fault,
            "findings": findings,
            "held": dict(snapshot.held),
            "dropped": dict(snapshot.dropped),
            "values": dict(snapshot.good),
            "setpoints": {k: v["value"] for k, v in setpoints(self._configuration.settings, self.changed).items()},
            "cost": stage_cost(self._configuration, snapshot.good, self.changed),
            "clamped": clamped(self._configuration, snapshot, decision.moves),
            "status": answer.get("status"),
            "twin": answer.get("twin"),
            "trust": (answer.get("trust") or {}).get("score"),
            "next": answer.get("next"),
            "predicted": outlook(answer, 0),
            "solve_ms": answer.get("solve_ms"),
            "jitter_s": began - due,
            "took_s": self._clock.steady() - due,
        }

    def _log(self, record: dict[str, Any]) -> None:
        """Into the log, as far as the disk lets us, and to whoever listens."""
        try:
            self._journal.add(record)
        except JournalError as error:
            record["log_failed"] = str(error)
        self.tell(record)
