"""Progress of a video as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from vap.serving.api.errors import ApiError
from vap.serving.api.service import Owner, Service, Shared
from vap.serving.api.shown import Video
from vap.serving.api.videos import own_status
from vap.serving.jobs.job import ENDED

router = APIRouter(prefix="/v1/videos", tags=["videos"])

_LOOK = 0.5  # seconds between looks at the job
_QUIET = 15.0  # seconds after which a comment tells proxies that the connection lives


@router.get(
    "/{video_id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def events(video_id: str, service: Shared, owner: Owner) -> StreamingResponse:
    """Send the video as JSON at every change, until it has ended."""
    await own_status(service, video_id, owner)
    return StreamingResponse(
        _changes(service, video_id, owner),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _changes(service: Service, video_id: str, owner: str) -> AsyncIterator[str]:
    last: Video | None = None
    quiet = 0.0
    while True:
        try:
            video = await own_status(service, video_id, owner)
        except ApiError:
            yield f'event: deleted\ndata: {{"id": "{video_id}"}}\n\n'
            return
        if video != last:
            last, quiet = video, 0.0
            yield f"event: video\ndata: {video.model_dump_json()}\n\n"
        if video.status in ENDED or service.stopping.is_set():
            return
        await anyio.sleep(_LOOK)
        quiet += _LOOK
        if quiet >= _QUIET:
            quiet = 0.0
            yield ": still here\n\n"
