"""Runs a controller on time, reports every record and hears what is wanted."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from api.control.clock import Clock
from api.control.controller import Controller
from api.control.journal import finite
from api.control.link import LinkError
from api.control.modes import WRITING, Event, Mode, RefusedModeError

log = structlog.get_logger()

WAITING = 10_000  # records that the service has not taken yet; the log has them all
BATCH = 200  # records of one report
REPORT_SHARE = 0.3  # of a period that a report may take
REPORT_S = 5.0  # at most


class Reports(Protocol):
    """Where a controller reports and hears what is wanted."""

    async def exchange(self, report: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Hand over a report; `{"wanted": …}`."""
        ...


class Runner:
    """One cycle a period, on a steady grid; between them it reports and obeys.

    Attributes:
        missed: cycles that never began, because the one before took too long.
        cycles: those that did.
    """

    def __init__(self, controller: Controller, reports: Reports, clock: Clock, period_s: float, poll_s: float) -> None:
        self._controller, self._reports, self._clock = controller, reports, clock
        self._period_s, self._poll_s = period_s, poll_s
        self._waiting: deque[dict[str, Any]] = deque(maxlen=WAITING)
        self._heard: int | None = None  # the id of the last request that was taken
        self._request: dict[str, Any] | None = None  # what became of it
        self.missed = self.cycles = 0

    def tell(self, record: dict[str, Any]) -> None:
        """Take a record, to report it."""
        self._waiting.append(finite(record))

    async def start(self) -> None:
        """Take up the mode and setpoints that were wanted last; never `closed`."""
        try:
            wanted = (await self._exchange()).get("wanted") or {}
        except LinkError as error:
            log.warning("the service does not answer; starting all the same", error=error.detail)
            return
        self._heard = wanted.get("id")
        self._setpoints(wanted)
        if wanted.get("last_mode"):
            mode = Mode.SHADOW if wanted["last_mode"] == Mode.CLOSED else Mode(wanted["last_mode"])
            await self._controller.change(Event(mode.value), str(wanted.get("by")), "as it was before the restart")

    async def run(self, stop: asyncio.Event, cycles: int | None = None) -> None:
        """Go on until told to stop, or for so many cycles; closed loop ends in order."""
        due, told = self._clock.steady(), 0
        while not stop.is_set() and (cycles is None or self.cycles < cycles):
            record = await self._controller.cycle(due, self.missed - told)
            told = self.missed
            self.cycles += 1
            self._show(record)
            await self.exchange()
            due = self._following(due)
            await self._wait(due, stop)
        if self._controller.mode in WRITING:
            await self._controller.change(Event.SHED, "the controller", "it was stopped")
        await self.exchange()

    async def exchange(self) -> None:
        """Report what is waiting and do what is wanted; a service that does not answer is asked again later."""
        try:
            answer = await self._exchange()
        except LinkError:
            return
        wanted = answer.get("wanted")
        if isinstance(wanted, Mapping) and wanted.get("id") != self._heard:
            self._heard = wanted.get("id")
            await self._obey(wanted)

    async def _exchange(self) -> dict[str, Any]:
        batch = [self._waiting[i] for i in range(min(len(self._waiting), BATCH))]
        state = self._controller.state() | {"request": self._request, "missed": self.missed, "cycles": self.cycles}
        limit_s = min(self._clock.real(REPORT_SHARE * self._period_s), REPORT_S)
        answer = await self._reports.exchange(
            {"run": self._controller.run, "state": finite(state), "records": batch}, limit_s
        )
        for _ in batch:
            self._waiting.popleft()
        return answer

    async def _obey(self, wanted: Mapping[str, Any]) -> None:
        """Do what somebody asked for, and say what became of it."""
        confirmed = bool(wanted.get("confirmed")) and float(wanted.get("age_s", math.inf)) <= self._confirm_within_s
        by, reason = str(wanted.get("by")), str(wanted.get("reason") or "no reason given")
        accepted, detail = True, ""
        try:
            self._setpoints(wanted)
            if wanted.get("mode"):
                await self._controller.request(Mode(wanted["mode"]), by, reason, scope=True, confirmed=confirmed)
        except (RefusedModeError, ValueError) as error:
            accepted, detail = False, str(error)
        self._request = {"id": wanted.get("id"), "accepted": accepted, "detail": detail}

    @property
    def _confirm_within_s(self) -> float:
        return self._controller.settings.confirm_within_s

    def _setpoints(self, wanted: Mapping[str, Any]) -> None:
        if wanted.get("setpoints"):
            self._controller.set_setpoints(wanted["setpoints"], str(wanted.get("by")))

    def _following(self, due: float) -> float:
        """When the next cycle is due; those whose time has passed are missed, and counted."""
        behind = math.floor((self._clock.steady() - due) / self._period_s)
        self.missed += max(behind, 0)
        return due + (max(behind, 0) + 1) * self._period_s

    async def _wait(self, due: float, stop: asyncio.Event) -> None:
        """Until a cycle is due; what is wanted is asked for meanwhile."""
        while (left_s := due - self._clock.steady()) > 0 and not stop.is_set():
            poll_s = self._poll_s / self._clock.real(1.0)
            if left_s <= poll_s:
                await self._clock.sleep(left_s)
                return
            await self._clock.sleep(poll_s)
            await self.exchange()

    def _show(self, record: Mapping[str, Any]) -> None:
        said = {name: record.get(name) for name in ("mode", "status", "next", "written") if record.get(name)}
        if record["fault"]:
            log.warning("cycle failed", **record["fault"], mode=record["mode"])
        else:
            log.debug("cycle", **said)
