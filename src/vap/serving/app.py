"""The web application of the service."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from fastapi.responses import FileResponse

from vap.serving.jobs.job import Job
from vap.serving.jobs.queue import Jobs
from vap.serving.jobs.request import Upload, VideoRequest
from vap.serving.jobs.resolve import upload_key
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the application; ``app.state`` has its settings, jobs and media."""
    app = FastAPI(title="Video-As-Prompt")
    app.state.settings = settings
    app.state.jobs = jobs = Jobs(settings)
    app.state.media = media = MediaStore(settings.media_url)

    def found(job_id: str) -> Job:
        try:
            return jobs.get(job_id)
        except KeyError:
            raise HTTPException(404, "There is no such video.") from None

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "jobs": jobs.counts(), "workers": len(jobs.workers())}

    @app.post("/v1/videos")
    def create(
        input_reference: Annotated[UploadFile, File()],
        prompt: Annotated[str, Form()] = "",
        reference: Annotated[list[UploadFile], File()] = [],  # noqa: B006 - FastAPI copies it
    ) -> dict[str, Any]:
        image, *references = [_store(media, each) for each in (input_reference, *reference)]
        request = VideoRequest(
            prompt=prompt,
            image=image,
            references=tuple(Upload(upload=each) for each in references),
        )
        return _shown(jobs.submit(request))

    @app.get("/v1/videos/{job_id}")
    def get(job_id: str) -> dict[str, Any]:
        return _shown(found(job_id))

    @app.get("/v1/videos/{job_id}/content")
    def content(job_id: str) -> FileResponse:
        job = found(job_id)
        if job.video is None:
            raise HTTPException(409, f"The video is {job.state}.")
        return FileResponse(media.local(job.video, Path(tempfile.gettempdir())))

    return app


def _store(media: MediaStore, upload: UploadFile) -> str:
    upload_id = f"file_{secrets.token_hex(16)}"
    with tempfile.NamedTemporaryFile() as file:
        file.write(upload.file.read())
        file.flush()
        media.put(upload_key(upload_id), Path(file.name))
    return upload_id


def _shown(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "object": "video",
        "status": job.state,
        "progress": job.progress,
        "created_at": int(job.created_at),
        "completed_at": job.completed_at and int(job.completed_at),
        "expires_at": job.expires_at and int(job.expires_at),
        "model": job.model,
        "size": job.size,
        "seconds": None if job.seconds is None else f"{job.seconds:g}",
        "error": job.error and {"code": job.error.code, "message": job.error.message},
    }
