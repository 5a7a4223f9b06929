"""Every mode with every event, against a table written out here by hand."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from api.control import modes
from api.control.modes import Event, Mode, Permit, RefusedModeError, after

FULL = Permit(scope=True, confirmed=True, allowed=True, ready=True)
# from: off, shadow, advisory, closed, override, shed, ramp, restart; None is refused, whatever the permit
EXPECTED = {
    "off": ("off", "shadow", "advisory", None, "off", "off", "off", "off"),
    "shadow": ("off", "shadow", "advisory", "closed", "shadow", "shadow", "shadow", "shadow"),
    "advisory": ("off", "shadow", "advisory", "closed", "advisory", "advisory", "advisory", "advisory"),
    "closed": ("off", "shadow", "advisory", "closed", "advisory", "shadow", "shedding", "shadow"),
    "shedding": ("off", "shadow", "advisory", None, "advisory", "shadow", "shedding", "shadow"),
}
CASES = [
    (mode, event, to) for mode, row in EXPECTED.items() for event, to in zip([e.value for e in Event], row, strict=True)
]


@pytest.mark.parametrize(("mode", "event", "to"), CASES)
def test_every_mode_with_every_event(mode: str, event: str, to: str | None) -> None:
    if to is None:
        with pytest.raises(RefusedModeError, match="shadow or advisory first"):
            after(Mode(mode), Event(event), FULL)
    else:
        assert after(Mode(mode), Event(event), FULL) == to


def test_the_table_is_complete() -> None:
    assert {(mode, event) for mode, row in modes.TABLE.items() for event in row} == set(itertools.product(Mode, Event))


@pytest.mark.parametrize("mode", [Mode.SHADOW, Mode.ADVISORY])
@pytest.mark.parametrize("permit", [Permit(*flags) for flags in itertools.product([True, False], repeat=4)])
def test_closed_needs_every_part_of_the_permit(mode: Mode, permit: Permit) -> None:
    if permit == FULL:
        assert after(mode, Event.CLOSED, permit) is Mode.CLOSED
    else:
        with pytest.raises(RefusedModeError, match="closed needs"):
            after(mode, Event.CLOSED, permit)


def test_no_event_but_the_request_leads_to_closed() -> None:
    for mode, event in itertools.product(Mode, Event):
        if mode is not Mode.CLOSED and event is not Event.CLOSED:
            assert after(mode, event, FULL) is not Mode.CLOSED


def test_a_restart_is_never_closed() -> None:
    assert all(after(mode, Event.RESTART, FULL) is not Mode.CLOSED for mode in Mode)


def test_leaving_closed_needs_no_permit() -> None:
    for event in Event:
        if event is not Event.CLOSED:
            assert after(Mode.CLOSED, event, Permit()) is not Mode.CLOSED


def test_the_documented_table_is_the_one_in_force() -> None:
    rows = [line for line in (modes.__doc__ or "").splitlines() if line.startswith("| **")]
    told = {}
    for line in rows:
        name, *cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        told[name] = tuple(None if cell == "refused" else cell.partition(",")[0] for cell in cells)
    assert told == EXPECTED
    page = (Path(__file__).parents[2] / "api" / "docs" / "control.md").read_text()
    assert all(line in page for line in rows)
