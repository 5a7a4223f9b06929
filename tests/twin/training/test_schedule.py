"""When the learning rate falls, and when training ends."""

from __future__ import annotations

import itertools

from twin.training.schedule import DUE, FALL, FIRST, LATER, Schedule


def _falls(errors: list[float], spent: list[float]) -> list[int]:
    """How often the rate has fallen behind each evaluation."""
    start = Schedule()
    found = itertools.accumulate(zip(errors, spent, strict=True), lambda s, e: s.after(*e), initial=start)
    return [one.falls for one in found][1:]


def test_it_falls_when_nothing_better_comes_and_ends_with_the_last_fall() -> None:
    errors = [1.0, 0.8] + [0.9] * (FIRST + LATER)
    falls = _falls(errors + [0.7] + [0.75] * (2 * LATER), [0.0] * (len(errors) + 1 + 2 * LATER))
    assert falls.index(1) == 1 + FIRST  # evaluations behind the best one, which is number 1
    assert falls.index(2) == 1 + FIRST + LATER
    assert falls.index(3) == len(errors) + LATER  # a better one came, and then no other
    last = Schedule(falls=2, since=LATER - 1, best=0.1).after(0.2, 0.0)
    assert last.ended
    assert not Schedule(falls=2, since=LATER - 1, best=0.1).after(0.05, 0.0).ended


def test_time_forces_falls_but_never_the_end() -> None:
    spent = [0.0, 0.5, DUE[0], DUE[0], DUE[1], 0.99, 1.5]
    falls = _falls([1 / (1 + i) for i in range(len(spent))], spent)  # always better
    assert falls == [0, 0, 1, 1, 2, 2, 2]


def test_the_rate_is_a_quarter_behind_each_fall() -> None:
    assert [Schedule(falls=n).rate for n in range(3)] == [1.0, FALL, FALL**2]
    assert FALL == 0.25
