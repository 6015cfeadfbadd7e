"""The process that loads models and makes videos, so that its end is not the worker's."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeAlias

from vap.serving.content_filter import RefusedContentError
from vap.serving.jobs.job import JobError, ReferenceUse
from vap.serving.jobs.request import VideoRequest
from vap.serving.settings import Settings

_logger = logging.getLogger(__name__)
_spawn = multiprocessing.get_context("spawn")
_LEAVE = 2.0  # seconds for the process to notice that it is not needed


@dataclass(frozen=True, slots=True)
class Task:
    """A job for the model process; it writes into ``folder``."""

    job_id: str
    request: VideoRequest
    model: str
    seed: int
    folder: Path
    settings: Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a task is."""

    stage: str
    done: int = 0
    total: int = 0
    preview: Path | None = None

    @property
    def percent(self) -> int:
        """0 … 99: a job is at 100 when it has ended."""
        return min(99, 100 * self.done // self.total) if self.total else 0


@dataclass(frozen=True, slots=True)
class Result:
    """The files of a finished task."""

    video: Path
    thumbnail: Path | None
    seconds: float
    size: str
    reference_use: ReferenceUse | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no video, and whether the process can go on."""

    error: JobError
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Canceled:
    """The answer to a cancellation."""


Message: TypeAlias = Progress | Result | Failure | Canceled


class CanceledError(Exception):
    """The job was canceled; raised inside a maker's calls of its report."""


class Report:
    """What a maker tells while it works. Each call raises if the job was canceled."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stage = ""

    def stage(self, name: str) -> None:
        """Tell the name of a stage as it starts."""
        self._stage = name
        self._send(Progress(name))

    def step(self, done: int, total: int, preview: Path | None = None) -> None:
        """Tell how many denoising steps are done."""
        self._send(Progress(self._stage, done, total, preview))

    def _send(self, progress: Progress) -> None:
        if self._connection.poll():
            raise CanceledError
        self._connection.send(progress)


Make = Callable[[Task, Report], Result]
"""Makes the video of a task."""


def video_maker() -> Make:
    """Return the real one; in the model process, so that only that imports torch."""
    from vap.serving.jobs.make_video import VideoMaker

    return VideoMaker()


class ModelProcess:
    """Runs one task at a time in a process of its own.

    Args:
        maker: Importable function without arguments, called in the process, that returns what
            makes videos.
    """

    def __init__(self, maker: Callable[[], Make]) -> None:
        self._maker = maker
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection

    def start(self, task: Task) -> None:
        """Give a task to the process, which is started if need be."""
        if self._process is not None:
            try:
                self._connection.send(task)
            except OSError:  # it has ended since the last task
                self.stop()
            else:
                return
        self._connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_run, args=(self._maker, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.send(task)

    def message(self, timeout: float) -> Message | None:
        """Return the next message, or None if none comes in time."""
        try:
            if not self._connection.poll(timeout):
                return None
            message: Message = self._connection.recv()
        except (EOFError, OSError):
            return Failure(JobError("model_process_died", self._last_words()), usable=False)
        return message

    def cancel(self, patience: float) -> None:
        """End the running task: by itself at its next report, or with the process."""
        try:
            self._connection.send(None)
            while self._connection.poll(patience):
                if not isinstance(self._connection.recv(), Progress):
                    return
        except (EOFError, OSError):
            pass
        self.stop()

    def stop(self) -> None:
        """End the process, by force if need be; the next task gets a new one."""
        if self._process is not None:
            self._connection.close()
            self._process.join(_LEAVE)
            self._process.kill()
            self._process.join()
            self._process = None

    def _last_words(self) -> str:
        assert self._process is not None
        self._process.join(5)
        code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "The process of the model was killed; most likely the memory did not suffice."
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        return f"The process of the model ended unexpectedly, {how}."


def _run(maker: Callable[[], Make], connection: Connection) -> None:
    """Do tasks until the worker ends; the whole of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the worker, and that ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    make: Make | None = None
    with suppress(EOFError, BrokenPipeError):  # the worker has ended
        while True:
            task = connection.recv()
            if task is None:  # a cancellation that came too late
                continue
            try:
                make = make or maker()
                outcome: Message = make(task, Report(connection))
            except CanceledError:
                outcome = Canceled()
            except Exception as error:
                _logger.warning("%s failed", task.job_id, exc_info=error)
                outcome = _failure(error, task)
            connection.send(outcome)


def _failure(error: Exception, task: Task) -> Failure:
    """An error as a client may see it: what the client can change, and no paths."""
    from vap.files.reading import is_out_of_memory

    if is_out_of_memory(error):
        message = "The memory is not enough. Ask for fewer frames or a smaller size."
        return Failure(JobError("out_of_memory", message), usable=False)
    if isinstance(error, RefusedContentError):
        return Failure(JobError("content_refused", str(error)))
    if isinstance(error, (ValueError, TypeError, OSError, ImportError)):
        message = str(error)
        for place in (str(task.folder), task.settings.media_url, str(task.settings.data)):
            message = message.replace(f"{place}/", "").replace(place, "")
        return Failure(JobError("invalid_request", message))
    message = f"The model failed ({type(error).__name__}). The log of the worker says more."
    return Failure(JobError("internal_error", message), usable=False)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker started it"
    parent.join()
    os._exit(1)
