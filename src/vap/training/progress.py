"""What a run shows of itself while it goes: a bar on a terminal, lines in a log."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_LOGGER = logging.getLogger(__name__)


class RunProgress:
    """Steps, loss, learning rate and time, elapsed and remaining."""

    def __init__(
        self, first: int, last: int, *, shown: bool, console: Console | None = None
    ) -> None:
        console = console or Console(stderr=True)
        self._first, self._last, self._started = first, last, time.monotonic()
        self._logs = shown and not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("remaining"),
            console=console,
            disable=not shown or self._logs,
        )
        self._task = self._bar.add_task("first step", total=last, completed=first)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def step(self, done: int, loss: float, rate: float) -> None:
        """Move the bar to a step."""
        self._bar.update(
            self._task, completed=done, description=f"loss {loss:.4g}, rate {rate:.3g}"
        )

    def line(self, done: int, loss: float, rate: float) -> None:
        """Say in the log where the run is."""
        if not self._logs:
            return
        elapsed = time.monotonic() - self._started
        remaining = elapsed / (done - self._first) * (self._last - done)
        _LOGGER.info(
            "step %d of %d: loss %.4g, rate %.3g, %s elapsed, %s remaining",
            done,
            self._last,
            loss,
            rate,
            timedelta(seconds=round(elapsed)),
            timedelta(seconds=round(remaining)),
        )
