"""``vap batch``: many videos from a file of requests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress, TaskID

from vap.cli import options
from vap.cli.console import (
    FAILED,
    messages,
    note_demonstration,
    progress_bar,
    quiet_libraries,
    reporting,
    show_json,
)

if TYPE_CHECKING:
    from vap.batch.ledger import Outcome
    from vap.batch.run_batch import Summary


def batch(
    requests: Annotated[
        Path,
        typer.Argument(metavar="REQUESTS", help="JSON Lines file with one request on each line."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for the videos; created if missing.")
    ],
    file_format: Annotated[
        Literal["mp4", "webm", "gif"], typer.Option("--format", help="Format of the videos.")
    ] = "mp4",
    workers: Annotated[
        int | None,
        typer.Option(help="Number of workers. Default: one per GPU with Ray, else 1.", min=1),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="Address of the Ray cluster to use, or 'local'."),
    ] = None,
    cpus: Annotated[
        int, typer.Option(help="CPU cores per worker, on a cluster without GPUs.", min=1)
    ] = 1,
    model: options.Model = None,
    memory: options.Memory = None,
    profile: options.Profile = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Retry failed requests.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Generate all videos of a requests file. After an interruption, run again to continue."""
    with reporting(as_json=as_json):
        from vap.batch.requests import read_requests
        from vap.batch.run_batch import Workers, run_batch

        defaults = {"model": _absolute(model), "memory": memory, "profile": profile}
        asked = read_requests(requests, {k: v for k, v in defaults.items() if v is not None})
        if not as_json:
            note_demonstration(*(each.request.model for each in asked))
        with progress_bar(shown=not as_json and messages.is_terminal) as bars:
            shown = _Shown(bars, len(asked))
            summary = run_batch(
                asked,
                output,
                file_format=file_format,
                workers=Workers(workers, ray, cpus),
                retry_failed=retry_failed,
                on_start=shown.start,
                on_outcome=shown.outcome,
                on_step=shown.step,
                loading=shown.loading,
            )
        _print(summary, retry_failed=retry_failed, as_json=as_json)
        if summary.failed:
            raise typer.Exit(FAILED)


def _absolute(model: str | None) -> str | None:
    """The absolute path of a local folder: paths in a requests file are relative to that file."""
    from vap.files.names import is_known

    if model is None or is_known(model) or not Path(model).is_dir():
        return model
    return str(Path(model).resolve())


class _Shown:
    """A bar of videos and one of the steps of the current video; failures stay on the screen."""

    def __init__(self, bars: Progress, requests: int) -> None:
        self._bars = bars
        self._requests = requests
        self._videos = bars.add_task("videos", total=requests)
        self._steps: TaskID | None = None

    def start(self, done: int) -> None:
        self._bars.update(self._videos, completed=done)
        if done < self._requests:
            # Not before: the libraries take seconds to import.
            quiet_libraries()

    @contextmanager
    def loading(self, model: str) -> Iterator[None]:
        """Make room for the bars of a download while a model is loaded."""
        from vap.files.names import local_model

        if self._bars.disable or local_model(model) is not None:
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def outcome(self, outcome: Outcome) -> None:
        self._bars.advance(self._videos)
        if outcome.error is not None:
            said = f"{outcome.name}: {outcome.error['message']}"
            messages.print(said, style="red", soft_wrap=True)

    def step(self, done: int, total: int) -> None:
        if self._steps is None:
            self._steps = self._bars.add_task("steps", total=total)
        self._bars.update(self._steps, completed=done, total=total)


def _print(summary: Summary, *, retry_failed: bool, as_json: bool) -> None:
    if as_json:
        show_json(asdict(summary))
        return
    before = f" ({summary.skipped} from earlier runs)" if summary.skipped else ""
    messages.print(f"{summary.done} of {summary.requests} videos are complete{before}.")
    if summary.failed:
        again = "" if retry_failed else " Retry them with --retry-failed."
        messages.print(f"{summary.failed} failed; see the manifest for the reasons.{again}")
    messages.print(f"  {summary.manifest}", soft_wrap=True)
