"""How many requests a client may send: a bucket of tokens for each key."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class RateLimits:
    """Tokens by owner, refilled at a constant rate; a full bucket lasts a minute.

    Of one process: several processes of a service count by themselves.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def take(self, owner: str, per_minute: int) -> float:
        """Take a token, and return 0; or return the seconds until there is one."""
        rate = per_minute / 60
        with self._lock:
            now = self._clock()
            tokens, since = self._buckets.get(owner, (float(per_minute), now))
            tokens = min(float(per_minute), tokens + (now - since) * rate)
            wait = 0.0 if tokens >= 1 else (1 - tokens) / rate
            self._buckets[owner] = (tokens if wait else tokens - 1, now)
            return wait
