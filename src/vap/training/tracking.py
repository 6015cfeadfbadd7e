"""What a run reports: ``metrics.jsonl``, trackers, a bar on a terminal or lines in a log."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from vap.extras import MissingExtraError
from vap.files.atomic import atomic_file
from vap.training.tuning_config import RunConfig

_LOGGER = logging.getLogger(__name__)

WriteMetrics = Callable[[int, Mapping[str, float]], None]
"""Record the numbers of a step."""


@contextmanager
def metrics_of_run(output: Path, run: RunConfig, first: int, rank: int) -> Iterator[WriteMetrics]:
    """Record metrics in the run's folder and its trackers; only the first process writes.

    A run that continues at a step removes the later lines of ``metrics.jsonl``, so that every
    step is in the file once.
    """
    if rank:
        yield lambda _step, _metrics: None
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    path, logs, trackers = output / "metrics.jsonl", str(output / "logs"), []
    _remove_after(first, path)
    for name in dict.fromkeys(run.trackers):
        kind = LOGGER_TYPE_TO_CLASS[name]
        options = {"logging_dir": logs} if kind.requires_logging_directory else {}
        trackers.append(kind(run.project, **options))
        trackers[-1].start()
    with path.open("a", encoding="utf-8") as file:

        def write(step: int, metrics: Mapping[str, float]) -> None:
            file.write(json.dumps({**metrics, "step": step}) + "\n")
            file.flush()
            for tracker in trackers:
                tracker.log(dict(metrics), step=step)

        try:
            yield write
        finally:
            for tracker in trackers:
                tracker.finish()


def _remove_after(step: int, path: Path) -> None:
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    kept = [line for line in lines if _step(line) <= step]
    if len(kept) < len(lines):
        with atomic_file(path) as partial:
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _step(line: str) -> float:
    """Step of a line; one cut short by a kill is after every checkpoint."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")


def check_trackers(names: Sequence[str]) -> None:
    """Check that accelerate has these trackers and that they are installed."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise ValueError(f"The tracker {name!r} is unknown. Use one of: {known}.")
        if name not in {str(available) for available in get_available_trackers()}:
            raise MissingExtraError(
                f"The tracker {name!r} is not installed. tensorboard comes with pip install "
                f"'video-as-prompt[train]'; install others by their own name."
            )


class RunProgress(Progress):
    """Steps, loss, learning rate and time: a bar on a terminal, lines in a log."""

    def __init__(
        self, first: int, last: int, *, shown: bool, console: Console | None = None
    ) -> None:
        console = console or Console(stderr=True)
        self._first, self._last, self._begun = first, last, time.monotonic()
        self._logs = shown and not console.is_terminal
        super().__init__(
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
        self._bar = self.add_task("first step", total=last, completed=first)

    def step(self, done: int, loss: float, rate: float) -> None:
        """Move the bar to a step."""
        self.update(self._bar, completed=done, description=f"loss {loss:.4g}, rate {rate:.3g}")

    def line(self, done: int, loss: float, rate: float) -> None:
        """Log where the run is."""
        if not self._logs:
            return
        elapsed = time.monotonic() - self._begun
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
