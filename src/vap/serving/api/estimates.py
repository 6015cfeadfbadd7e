"""``/v1/estimates``: time and memory of a video before it is made."""

from __future__ import annotations

from statistics import median_low
from typing import Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel

from vap.acceleration.plan import WantedVideo
from vap.effects.library import find_effect
from vap.files.folders import family_of, native_video
from vap.files.names import local_model
from vap.process import quiet_libraries
from vap.serving.api.body import read_body
from vap.serving.api.create import request_without_image
from vap.serving.api.documents import ESTIMATE_BODY
from vap.serving.api.helper import in_helper
from vap.serving.api.service import Owner, Service, Shared
from vap.serving.jobs.request import NamedEffect, VideoRequest
from vap.serving.jobs.resolve import frames_of
from vap.serving.settings import Settings

router = APIRouter(prefix="/v1", tags=["videos"])

_RECENT, _SAMPLES = 100, 5


class Estimate(BaseModel):
    """What a video takes once its turn has come; null where nothing is known."""

    object: Literal["estimate"] = "estimate"
    seconds: float | None = None
    memory_bytes: int | None = None
    memory_available_bytes: int | None = None
    fits: bool | None = None
    basis: Literal["measured", "predicted", "unknown"]


@router.post("/estimates", openapi_extra=ESTIMATE_BODY)
async def estimate(request: Request, service: Shared, owner: Owner) -> Estimate:
    """Tell how long a video would take, and whether the memory suffices.

    The time is that of the last videos of the same kind (``measured``), or calculated for the
    machine of the service (``predicted``).
    """
    body = await read_body(request)
    asked = await anyio.to_thread.run_sync(request_without_image, service, body.fields, owner)
    settings = service.settings
    found = await in_helper(
        service.estimates, _predict, work_of(asked, settings), settings.device, settings.memory
    )
    took = await anyio.to_thread.run_sync(measured, service, asked)
    if took is not None:
        return Estimate(**{**found, "seconds": took}, basis="measured")
    return Estimate(**found, basis="predicted" if found else "unknown")


def _predict(work: dict[str, Any], device: str | None, memory: str | None) -> dict[str, Any]:
    """What is calculated; in a process of its own, because it imports torch."""
    with quiet_libraries():
        from dataclasses import asdict

        from vap.loading.estimate import Work, estimate

        found = estimate(Work(**work), device, memory)
        return {} if found is None else asdict(found)


def measured(service: Service, asked: VideoRequest) -> float | None:
    """Return the usual seconds of the last videos that took the same work, if there are any."""
    work = work_of(asked, service.settings)
    model = asked.model or service.settings.models[0]
    seconds: list[float] = []
    for job in service.jobs.completed(model, limit=_RECENT):
        if len(seconds) < _SAMPLES and work_of(job.request, service.settings) == work:
            assert job.started_at is not None
            assert job.completed_at is not None
            seconds.append(job.completed_at - job.started_at)
    # The lower one of two: the other may have loaded the model.
    return round(median_low(seconds), 3) if seconds else None


def work_of(asked: VideoRequest, settings: Settings) -> dict[str, Any]:
    """Return the fields of :class:`vap.loading.estimate.Work` of a request."""
    chosen: dict[str, Any] = {}
    for reference in asked.references:
        if isinstance(reference, NamedEffect):
            chosen |= _settings_of(reference.effect)
    chosen |= asked.model_dump(exclude_none=True)
    model = asked.model or settings.models[0]
    height, width = asked.height_width or (None, None)
    frames = frames_of(model, asked.seconds) if asked.seconds is not None else asked.num_frames
    folder = local_model(model)
    if folder is not None:
        native, _ = native_video(folder, family_of(folder))
        height, width = height or native.height, width or native.width
        frames = frames or native.frames
    return {
        "model": model,
        "video": WantedVideo(height, width, frames, len(asked.references)),
        "steps": chosen.get("num_inference_steps"),
        "guidance": _above_one(chosen.get("guidance_scale")),
        "reference_guidance": _above_one(chosen.get("reference_guidance_scale")),
        "profile": chosen.get("profile", settings.profile),
        "check_reference": asked.check_reference,
        "expert": settings.experts_of(model).get(asked.expert or ""),
    }


def _settings_of(effect: str) -> dict[str, Any]:
    try:
        return find_effect(effect).settings.given()
    except (FileNotFoundError, ValueError):  # of an earlier video, deleted since
        return {}


def _above_one(scale: float | None) -> bool | None:
    return None if scale is None else scale > 1
