"""How many requests each key may make: a token bucket a key, in the memory of one server process."""

from __future__ import annotations

import math
import time

from api.http.errors import TooManyError

BURST_S = 10.0  # the bucket holds so many seconds' worth of requests


class Limiter:
    """Counts the requests of each key.

    Args:
        per_minute: how many a key may make in the long run; 0 is any number.
    """

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60
        self._size = max(1.0, self._rate * BURST_S)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: str, now: float | None = None) -> None:
        """Count one request.

        Raises:
            TooManyError: the key has made too many; it says when there is room again.
        """
        if not self._rate:
            return
        now = time.monotonic() if now is None else now
        left, at = self._buckets.get(key, (self._size, now))
        left = min(self._size, left + (now - at) * self._rate)
        if left < 1:
            raise TooManyError(math.ceil((1 - left) / self._rate))
        self._buckets[key] = (left - 1, now)
