"""A job: a request for a video, its state, and what became of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal

from vap.serving.jobs.request import VideoRequest

Verdict = Literal["used", "weak", "ignored"]
State = Literal["queued", "in_progress", "completed", "failed", "canceled"]
ENDED: tuple[State, ...] = ("completed", "failed", "canceled")
FOLDER = "videos"
"""Media key of the folder with a folder for each job."""


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: a code for programs, a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ReferenceUse:
    """Whether a video follows its reference.

    Attributes:
        score: How much it differs from the video without the reference, 0 … 1.
        verdict: See :class:`vap.pipelines.reference_report.ReferenceReport`.
        message: The verdict for people, with advice.
    """

    score: float
    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored. Times are unix seconds.

    Attributes:
        id: ``video_…``.
        owner: Id of the API key; empty without keys.
        state: Where it is; ended jobs stay as they are.
        request: What was asked for.
        progress: 0 … 100.
        stage: What the worker does, such as ``load`` or ``generate``.
        created_at: When it was accepted.
        started_at: When the last worker began.
        completed_at: When it ended, however it ended.
        expires_at: When it will be deleted, if ever.
        error: Why it failed.
        video: Media key of the video.
        thumbnail: Media key of the thumbnail.
        preview: Media key of a preview of the emerging video.
        seed: Of the noise.
        model: Name of the model.
        seconds: Length of the video, once that is known.
        size: ``WIDTHxHEIGHT``, once that is known.
        webhook_url: Whom to tell when it has ended.
        priority: Higher ones are made first.
        idempotency_key: A submission of the same owner with the same key is this job.
        remixed_from: The job that this one varies.
        attempts: Workers that have begun it.
        reference_use: Whether its video follows its reference, where that was asked.
    """

    id: str
    owner: str
    state: State
    request: VideoRequest
    progress: int
    stage: str
    created_at: float
    started_at: float | None
    completed_at: float | None
    expires_at: float | None
    error: JobError | None
    video: str | None
    thumbnail: str | None
    preview: str | None
    seed: int
    model: str
    seconds: float | None
    size: str | None
    webhook_url: str | None
    priority: int
    idempotency_key: str | None
    remixed_from: str | None
    attempts: int
    reference_use: ReferenceUse | None

    @property
    def ended(self) -> bool:
        """Whether nothing about it will change."""
        return self.state in ENDED


def new_id() -> str:
    """Return a random id of a job."""
    return f"video_{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to work on a job, until its lease ends or the job does."""

    job: Job
    worker: str

    @property
    def folder(self) -> str:
        """Media key of this attempt's files: no other attempt writes there."""
        return f"{FOLDER}/{self.job.id}/{self.job.attempts}"


@dataclass(frozen=True, slots=True)
class Made:
    """What a worker made: media keys, and what the model decided."""

    video: str
    thumbnail: str | None
    seconds: float
    size: str
    reference_use: ReferenceUse | None = None
