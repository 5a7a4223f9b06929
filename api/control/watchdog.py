"""What ends closed loop by itself, and the heartbeat that tells the plant's own controllers that we are there."""

from __future__ import annotations

from dataclasses import dataclass, field

from api.control.settings import WatchdogTable

AT_ONCE = ("twin_changed",)  # was confirmed for another twin


@dataclass
class Watchdog:
    """Counts what fails in a row.

    Args:
        patience: so many failed cycles in a row shed.
        critical_patience: so many cycles in a row with a bad critical input shed.
    """

    patience: int
    critical_patience: int
    failed: int = field(default=0, init=False)
    critical: int = field(default=0, init=False)

    def note(self, fault: str | None, critical: bool) -> str | None:
        """Take in how a cycle went; why closed loop must end now, nothing where it may go on.

        Args:
            fault: the code of what failed, None for a good cycle.
            critical: whether a critical input was bad.
        """
        self.failed = 0 if fault is None else self.failed + 1
        self.critical = self.critical + 1 if critical else 0
        if fault in AT_ONCE:
            return fault
        if self.critical >= self.critical_patience:
            return "critical_input"
        if self.failed >= self.patience:
            return f"{self.failed} failed cycles, the last by {fault}"
        return None


class Heartbeat:
    """A number that is another one in every cycle; where it stands still, the base layer takes over."""

    def __init__(self, table: WatchdogTable | None) -> None:
        self._table = table
        self.count = 0

    def beat(self) -> dict[str, float]:
        """What to write now; nothing where no tag is configured."""
        if self._table is None:
            return {}
        self.count = (self.count + 1) % self._table.wraps
        return {self._table.tag: float(self.count)}
