"""Partial operation: which tags are out, and when they count again."""

from __future__ import annotations

from collections.abc import Mapping


class Roster:
    """Tags that dropped out come back after so many good cycles in a row, so that none of them flutters.

    Args:
        return_cycles: how many.
    """

    def __init__(self, return_cycles: int) -> None:
        self._return_cycles = return_cycles
        self._out: dict[str, tuple[str, int]] = {}  # tag → why, good cycles since

    def update(self, bad: Mapping[str, str]) -> dict[str, str]:
        """The tags that are out in this cycle and why, from those that are bad in it."""
        for tag, (why, good) in list(self._out.items()):
            if tag in bad:
                continue
            if good + 1 >= self._return_cycles:
                del self._out[tag]
            else:
                self._out[tag] = (why, good + 1)
        self._out |= {tag: (why, 0) for tag, why in bad.items()}
        return {tag: why for tag, (why, _) in self._out.items()}
