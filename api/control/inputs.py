"""One cycle's view of the plant: what was read, what of it holds, and which tags take part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from api.control.checks import Finding, Memory, Reading, check
from api.control.configuration import Configuration, Input, Mv
from api.control.ports import Inlets
from api.control.roster import Roster
from twin.plant import Role


@dataclass(frozen=True)
class Snapshot:
    """What a cycle knows.

    Attributes:
        at: the row's time, ns.
        row: a value by tag of the plant, NaN where nothing is known; a bad MV or DV holds its last good value, a bad
            CV that is not critical is what the twin forecast of it.
        good: the values of this cycle that passed their checks.
        findings: what was wrong.
        held: MVs that are not moved now, and why; to the planner they are DVs.
        dropped: CVs and DVs that do not count now, and why.
        link: why nothing could be read; empty where something could.
        override: the permissive that is not given; empty where all are.
    """

    at: int
    row: Mapping[str, float]
    good: Mapping[str, float]
    findings: tuple[Finding, ...] = ()
    held: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    link: str = ""
    override: str = ""

    @property
    def critical(self) -> Finding | None:
        """The first bad critical input."""
        return next((finding for finding in self.findings if finding.critical), None)


class Inputs:
    """Reads and judges, cycle by cycle."""

    def __init__(self, configuration: Configuration, inlets: Inlets) -> None:
        self._configuration, self._inlets = configuration, inlets
        self._past = {asked.name: Memory() for asked in configuration.inputs}
        self._roster = Roster(configuration.settings.return_cycles)

    async def take(
        self, at: int, now: int, forecast: Mapping[str, float], written: Mapping[str, float], timeout_s: float
    ) -> Snapshot:
        """The plant at the row of time `at`.

        Args:
            now: the time to judge ages by, ns.
            forecast: CV → what the twin expected of this row, where it did.
            written: MV → what was written a cycle ago: another value now was set by another hand.
            timeout_s: how long reading may take, on the wall.
        """
        configuration = self._configuration
        names = [*configuration.plant.measured, *configuration.extra_tags]
        readings, errors = await self._inlets.read(names, timeout_s)
        if not readings:
            return Snapshot(at, dict.fromkeys(configuration.plant.names, math.nan), {}, link="; ".join(errors))
        findings = [Finding("source", None, error) for error in errors]
        bad: dict[str, str] = {}
        good: dict[str, float] = {}
        for asked in configuration.inputs:
            found = check(readings.get(asked.name), asked, self._past[asked.name], now, configuration.period_s)
            if found is None:
                good[asked.name] = readings[asked.name].value
                self._past[asked.name] = self._past[asked.name].with_good(good[asked.name], now)
            else:
                findings.append(found)
                bad[asked.name] = found.code
        for mv in configuration.mvs:
            for finding in self._hindrance(mv, readings, good, written):
                findings.append(finding)
                bad.setdefault(mv.name, finding.code)
        calculated = self._calculated(good, bad)
        out = self._roster.update(bad)
        # A critical input holds up the whole cycle while it is bad; no plan is made without it, not even afterwards.
        back = {asked.name for asked in configuration.inputs if asked.critical and asked.name not in bad}
        roles = {tag.name: tag.role for tag in configuration.plant.tags}
        held = {mv.name: "not_configured" for mv in configuration.mvs if not mv.moved}
        held |= {tag: why for tag, why in out.items() if roles[tag] is Role.MV}
        return Snapshot(
            at=at,
            row={asked.name: self._value(asked, good, out, forecast) for asked in configuration.inputs} | calculated,
            good=good,
            findings=tuple(findings),
            held=held,
            dropped={tag: why for tag, why in out.items() if roles[tag] is not Role.MV and tag not in back},
            override=self._override(readings),
        )

    def _calculated(self, good: dict[str, float], bad: dict[str, str]) -> dict[str, float]:
        """Calculated CVs, NaN without a value; those are `bad`, as what they need is, and the others join `good`."""
        formulas = self._configuration.plant.formulas
        names = formulas.sources
        found = formulas.compute({name: np.array([good.get(name, math.nan)]) for name in names})
        out = {name: float(values[0]) for name, values in found.items()}
        for name, value in out.items():
            if math.isfinite(value):
                good[name] = value
            else:
                needs = formulas.by_tag[name].tags
                bad[name] = next((bad[need] for need in needs if need in bad), "not_calculated")
        return out

    def _value(
        self, asked: Input, good: Mapping[str, float], out: Mapping[str, str], forecast: Mapping[str, float]
    ) -> float:
        """What the row says of a tag."""
        if asked.name in good and (asked.role is not Role.CV or asked.name not in out):
            return good[asked.name]
        if asked.role is not Role.CV:
            return self._past[asked.name].value
        if asked.critical:
            return good.get(asked.name, math.nan)
        return forecast.get(asked.name, good.get(asked.name, math.nan))

    def _hindrance(
        self, mv: Mv, readings: Mapping[str, Reading], good: Mapping[str, float], written: Mapping[str, float]
    ) -> list[Finding]:
        """Why an MV cannot be moved although it is measured."""
        if not mv.moved:
            return []
        found = []
        if mv.mode_tag is not None:
            mode = readings.get(mv.mode_tag)
            if mode is None or mode.quality < 192 or mode.value not in mv.remote:
                told = "is not known" if mode is None or math.isnan(mode.value) else f"is {mode.value:g}"
                found.append(Finding("manual", mv.name, f"{mv.name} is not in remote: its mode {told}", mv.critical))
        value = good.get(mv.name)
        if value is None:
            return found
        if mv.name in written and not abs(value - written[mv.name]) <= mv.tolerance:
            told = f"{mv.name} is {value:g}, written was {written[mv.name]:g}: another hand moved it"
            found.append(Finding("moved_by_hand", mv.name, told, mv.critical))
        step = mv.step(self._configuration.period_s)
        if not mv.low - step <= value <= mv.high + step:
            told = f"{mv.name} = {value:g} is farther outside {mv.low:g} to {mv.high:g} than one move"
            found.append(Finding("outside_limits", mv.name, told, mv.critical))
        return found

    def _override(self, readings: Mapping[str, Reading]) -> str:
        for tag, wanted in self._configuration.settings.permissives.items():
            reading = readings.get(tag)
            if reading is None or reading.quality < 192 or reading.value != wanted:
                told = "is not known" if reading is None else f"is {reading.value:g}"
                return f"{tag} {told}, not {wanted:g}"
        return ""
