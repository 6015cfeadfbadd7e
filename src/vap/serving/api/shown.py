"""What clients are told: the bodies of answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from vap.serving.jobs.job import Job, ReferenceUse, State
from vap.serving.uploads.kinds import Kind
from vap.serving.uploads.store import StoredPrompt, UploadedFile


class VideoError(BaseModel):
    """Why a video was not made."""

    code: str
    message: str


class Video(BaseModel):
    """A video, or the job that makes it. Times are unix seconds."""

    id: str
    object: Literal["video"] = "video"
    status: State
    progress: int
    created_at: int
    started_at: int | None = None
    completed_at: int | None = None
    expires_at: int | None = None
    model: str
    prompt: str
    size: str | None = None
    seconds: str | None = None
    error: VideoError | None = None
    remixed_from_video_id: str | None = None
    # Beyond OpenAI's
    stage: str
    queue_position: int | None = None
    has_preview: bool
    reference_use: ReferenceUse | None = None
    seed: int
    request: dict[str, Any]


def shown_video(job: Job, position: int | None = None) -> Video:
    """Return what a client is told of a job."""
    return Video(
        id=job.id,
        status=job.state,
        progress=job.progress,
        created_at=int(job.created_at),
        started_at=_seconds(job.started_at),
        completed_at=_seconds(job.completed_at),
        expires_at=_seconds(job.expires_at),
        model=job.model,
        prompt=job.request.prompt,
        size=job.size,
        seconds=None if job.seconds is None else f"{job.seconds:g}",
        error=job.error and VideoError(code=job.error.code, message=job.error.message),
        remixed_from_video_id=job.remixed_from,
        stage=job.stage,
        queue_position=position,
        has_preview=job.preview is not None,
        reference_use=job.reference_use,
        seed=job.seed,
        request=job.request.model_dump(mode="json", exclude_none=True),
    )


def _seconds(time: float | None) -> int | None:
    return None if time is None else int(time)


class VideoList(BaseModel):
    """A page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None = None
    last_id: str | None = None
    has_more: bool


class Deleted(BaseModel):
    """What was deleted."""

    id: str
    object: str
    deleted: Literal[True] = True


class StoredUpload(BaseModel):
    """An image or video that was uploaded."""

    id: str
    object: Literal["upload"] = "upload"
    name: str
    kind: Kind
    bytes: int
    sha256: str
    created_at: int
    width: int | None
    height: int | None
    frames: int | None
    fps: float | None
    seconds: float | None


def shown_upload(upload: UploadedFile) -> StoredUpload:
    """Return what a client is told of an upload."""
    names = StoredUpload.model_fields.keys() - {"object", "created_at"}
    values = {name: getattr(upload, name) for name in names}
    return StoredUpload(**values, created_at=int(upload.created_at))


class UploadList(BaseModel):
    """Uploads, the newest first."""

    object: Literal["list"] = "list"
    data: list[StoredUpload]


class Prompt(BaseModel):
    """References under one id."""

    id: str
    object: Literal["prompt"] = "prompt"
    encoded: bool
    upload: str | None
    reference_prompts: list[str]
    created_at: int


def shown_prompt(prompt: StoredPrompt) -> Prompt:
    """Return what a client is told of a stored prompt."""
    return Prompt(
        id=prompt.id,
        encoded=prompt.upload is None,
        upload=prompt.upload,
        reference_prompts=list(prompt.reference_prompts),
        created_at=int(prompt.created_at),
    )


class PromptList(BaseModel):
    """Stored prompts, the newest first."""

    object: Literal["list"] = "list"
    data: list[Prompt]
