"""A worker: takes jobs one after the other, and ends each exactly once."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import OperationalError

from vap.serving.content_filter import filter_package
from vap.serving.jobs.job import Claim, JobError, Made
from vap.serving.jobs.model_process import (
    Canceled,
    Failure,
    Make,
    ModelProcess,
    Progress,
    Result,
    Task,
    video_maker,
)
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.retention import delete_expired
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings

_logger = logging.getLogger(__name__)
_Value = TypeVar("_Value")

_IDLE = 0.5  # seconds between looks for a job
_LOOK = 0.3  # seconds between writes of progress, which also show a cancellation
_PATIENCE = 60.0  # seconds for the model to end a canceled job by itself
_CLEAN_UP = 60.0  # seconds between looks for what has expired


class _StoppedError(Exception):
    """The worker was told to stop."""


class Worker:
    """Makes the videos of a queue.

    Args:
        settings: Shared with the service.
        maker: What the model process runs, see :class:`ModelProcess`.
    """

    def __init__(self, settings: Settings, maker: Callable[[], Make] = video_maker) -> None:
        if settings.content_filter is not None:
            filter_package()  # now, rather than after the first video, if it is not installed
        self.id = f"{platform.node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._settings = settings
        self._jobs = Jobs(settings)
        self._media = MediaStore(settings.media_url)
        self._model = ModelProcess(maker)
        self._stopping = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop` is called."""
        beside = [
            threading.Thread(target=self._live, daemon=True),
            threading.Thread(target=self._clean_up, daemon=True),
        ]
        for thread in beside:
            thread.start()
        try:
            while not self._stopping.is_set():
                claim = self._patiently(lambda: self._jobs.claim(self.id))
                if claim is None:
                    self._stopping.wait(_IDLE)
                else:
                    self._work_safely(claim)
        except _StoppedError:
            pass
        finally:
            self._stopping.set()
            self._model.stop()
            for thread in beside:
                thread.join()
            self._jobs.database.close()

    def stop(self) -> None:
        """Stop soon; the running job goes to another worker."""
        self._stopping.set()

    def _live(self) -> None:
        """Give signs of life, and look after the jobs of those that give none."""
        while True:
            try:
                self._jobs.beat(self.id, platform.node())
                self._jobs.sweep()
            except Exception:  # whatever happens, the next beat may succeed
                _logger.warning("The worker could not give a sign of life.", exc_info=True)
            if self._stopping.wait(self._settings.lease_seconds / 4):
                break
        self._jobs.leave(self.id)

    def _clean_up(self) -> None:
        """Delete what has expired, now and then; beside signs of life, which must not wait."""
        while not self._stopping.wait(_CLEAN_UP):
            try:
                delete_expired(self._jobs, self._media)
            except Exception:  # such as media that cannot be reached for a while
                _logger.warning("Expired videos could not be deleted.", exc_info=True)

    def _work_safely(self, claim: Claim) -> None:
        """Work on a job; whatever happens, the worker goes on."""
        try:
            self._work(claim)
        except _StoppedError:
            raise
        except Exception as error:  # such as a full disk, or media that cannot be reached
            _logger.exception("%s failed", claim.job.id)
            self._model.stop()
            message = f"The worker failed ({type(error).__name__}). Its log says more."
            self._patiently(lambda: self._jobs.fail(claim, JobError("internal_error", message)))

    def _work(self, claim: Claim) -> None:
        _logger.info("%s begins, attempt %d", claim.job.id, claim.job.attempts)
        with tempfile.TemporaryDirectory(prefix="vap-job-") as folder:
            job = claim.job
            self._model.start(
                Task(job.id, job.request, job.model, job.seed, Path(folder), self._settings)
            )
            outcome = self._outcome(claim)
            if isinstance(outcome, Result):
                self._complete(claim, outcome)
            elif isinstance(outcome, Failure):
                if not outcome.usable:
                    self._model.stop()
                self._patiently(lambda: self._jobs.fail(claim, outcome.error))
                _logger.info("%s failed: %s", job.id, outcome.error.code)
            else:
                _logger.info("%s is canceled, or another worker's", job.id)

    def _outcome(self, claim: Claim) -> Result | Failure | None:
        """Follow a job to its end; None if it is no longer this worker's."""
        end = time.monotonic() + self._settings.job_seconds
        latest, noted, look_at = Progress("start"), None, 0.0
        while True:
            message = self._model.message(_LOOK)
            if isinstance(message, (Result, Failure)):
                return message
            if isinstance(message, Canceled):  # not asked for: a maker that raised it
                return Failure(JobError("internal_error", "The model gave up."))
            latest = message or latest
            if self._stopping.is_set():
                self._model.stop()
                self._jobs.release(claim)
                raise _StoppedError
            if time.monotonic() < look_at:
                continue
            look_at = time.monotonic() + _LOOK
            mine = self._still_mine(claim) if latest is noted else self._note(claim, latest)
            noted = latest
            if not mine:
                self._model.cancel(_PATIENCE)
                return None
            if time.monotonic() > end:
                self._model.stop()
                message_ = f"The job took more than {self._settings.job_seconds:g} seconds."
                return Failure(JobError("timed_out", message_))

    def _still_mine(self, claim: Claim) -> bool:
        return self._patiently(lambda: self._jobs.still_mine(claim))

    def _note(self, claim: Claim, latest: Progress) -> bool:
        preview = None
        if latest.preview is not None:
            preview = f"{claim.folder}/preview{latest.preview.suffix}"
            self._media.put(preview, latest.preview)
        return self._patiently(
            lambda: self._jobs.note_progress(
                claim, progress=latest.percent, stage=latest.stage, preview=preview
            )
        )

    def _complete(self, claim: Claim, result: Result) -> None:
        """Store the files, then end the job; without the job they are deleted."""
        keys = {}
        for name, file in (("video", result.video), ("thumbnail", result.thumbnail)):
            if file is not None:
                keys[name] = f"{claim.folder}/{name}{file.suffix}"
                self._media.put(keys[name], file)
        made = Made(
            keys["video"],
            keys.get("thumbnail"),
            result.seconds,
            result.size,
            result.reference_use,
        )
        if self._patiently(lambda: self._jobs.complete(claim, made)):
            _logger.info("%s completed", claim.job.id)
        else:
            self._media.delete(claim.folder)

    def _patiently(self, call: Callable[[], _Value]) -> _Value:
        """Call again while the database cannot be reached."""
        while True:
            try:
                return call()
            except OperationalError:
                _logger.warning("The database cannot be reached.", exc_info=True)
                if self._stopping.wait(1):
                    raise _StoppedError from None
