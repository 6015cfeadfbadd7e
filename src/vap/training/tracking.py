"""Where a run's numbers go: ``metrics.jsonl`` always, trackers by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vap.extras import MissingExtraError
from vap.files.atomic import atomic_file
from vap.training.tuning_config import RunConfig

_FILE = "metrics.jsonl"


class Metrics:
    """Open while a run lasts.

    A run that continues forgets what was logged after its checkpoint, so that every step stands
    in the file once.

    Args:
        output: The run's folder.
        run: Names of the trackers and of the project.
        first: Step that the run continues at.
        rank: The process; only the first one writes.
    """

    def __init__(self, output: Path, run: RunConfig, first: int, rank: int) -> None:
        self._path, self._first, self._writes = output / _FILE, first, rank == 0
        self._trackers = _open_trackers(output, run) if self._writes else []

    def __enter__(self) -> Self:
        if self._writes:
            self._forget_after(self._first)
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writes:
            self._file.close()
        for tracker in self._trackers:
            tracker.finish()

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record numbers of a step."""
        if not self._writes:
            return
        self._file.write(json.dumps({**metrics, "step": step}) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.log(dict(metrics), step=step)

    def _forget_after(self, step: int) -> None:
        if not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        kept = [line for line in lines if _step(line) <= step]
        if len(kept) < len(lines):
            with atomic_file(self._path) as partial:
                partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _step(line: str) -> float:
    """Step of a line; what is none, as one cut short by a kill, is after every checkpoint."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return float("inf")


def check_trackers(names: Sequence[str]) -> None:
    """See that trackers are known to accelerate and installed."""
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


def _open_trackers(output: Path, run: RunConfig) -> list[Any]:
    """Accelerate's trackers of these names."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers

    check_trackers(run.trackers)
    trackers = []
    for name in filter_trackers(list(run.trackers), str(output / "logs")):
        kind = LOGGER_TYPE_TO_CLASS[str(name)]
        options = {"logging_dir": str(output / "logs")} if kind.requires_logging_directory else {}
        tracker = kind(run.project, **options)
        tracker.start()
        trackers.append(tracker)
    return trackers
