"""``/v1/videos``: create, follow, fetch, vary and delete videos."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Header, Query, Request, Response

from vap.serving.api.body import read_body
from vap.serving.api.create import checked_request, video_request
from vap.serving.api.documents import CREATE_BODY, REMIX_BODY
from vap.serving.api.errors import ApiError
from vap.serving.api.service import Caller, Owner, Service, Shared
from vap.serving.api.shown import Deleted, Video, VideoList, shown_video
from vap.serving.jobs.job import Job
from vap.serving.jobs.queue import QueueFullError
from vap.serving.jobs.request import Group, VideoRequest
from vap.serving.jobs.retention import delete_job
from vap.serving.keys import Key

router = APIRouter(prefix="/v1/videos", tags=["videos"])

_ID = re.compile(r"video_[0-9a-f]{32}")
_POLL_MS = 1000
_IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
]


def own_job(service: Service, video_id: str, owner: str) -> Job:
    """Return a job of an owner.

    Raises:
        ApiError: If there is none.
    """
    if _ID.fullmatch(video_id):
        try:
            job = service.jobs.get(video_id)
        except KeyError:
            pass
        else:
            if job.owner == owner:
                return job
    raise _no_such_video()


async def own_status(service: Service, video_id: str, owner: str) -> Video:
    """Return what a client is told of a job of an owner, its place in the queue included.

    Raises:
        ApiError: If there is none.
    """
    found = await service.statuses.get(video_id) if _ID.fullmatch(video_id) else None
    if found is None or found[0].owner != owner:
        raise _no_such_video()
    return shown_video(*found)


def _no_such_video() -> ApiError:
    return ApiError(404, "There is no such video.", code="not_found", param="video_id")


def shown_now(service: Service, job: Job) -> Video:
    """Return what a client is told of a job, its place in the queue included."""
    waits = job.state == "queued"
    return shown_video(job, service.jobs.position(job) if waits else None)


@router.post("", openapi_extra=CREATE_BODY)
async def create(
    request: Request,
    response: Response,
    service: Shared,
    key: Caller,
    idempotency_key: _IdempotencyKey = None,
) -> Video:
    """Make a video of an image that follows references: files, ids or effects."""
    body = await read_body(request)
    webhook_url = _webhook(service, body.fields)
    asked = await video_request(service, body, "" if key is None else key.id)
    response.headers["openai-poll-after-ms"] = str(_POLL_MS)
    return await anyio.to_thread.run_sync(
        _submit, service, key, asked, idempotency_key, webhook_url, None
    )


@router.get("")
def list_videos(
    service: Shared,
    owner: Owner,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(max_length=80)] = None,
    order: Literal["asc", "desc"] = "desc",
    group: Annotated[Group | None, Query()] = None,
) -> VideoList:
    """List videos, the newest first; those of a group alone, if one is named."""
    if after is not None:
        own_job(service, after, owner)
    found = service.jobs.list(owner, limit=limit + 1, after=after, order=order, group=group)
    page = [shown_video(job) for job in found[:limit]]
    return VideoList(
        data=page,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
        has_more=len(found) > limit,
    )


@router.get("/{video_id}")
async def retrieve(video_id: str, response: Response, service: Shared, owner: Owner) -> Video:
    """Tell the state of a video."""
    response.headers["openai-poll-after-ms"] = str(_POLL_MS)
    return await own_status(service, video_id, owner)


@router.delete("/{video_id}")
def delete(video_id: str, service: Shared, owner: Owner) -> Deleted:
    """Delete a video and its files; one that is being made is canceled."""
    own_job(service, video_id, owner)
    with suppress(KeyError):  # deleted by another request at the same time
        delete_job(service.jobs, service.media, video_id)
    return Deleted(id=video_id, object="video.deleted")


@router.post("/{video_id}/cancel")
def cancel(video_id: str, service: Shared, owner: Owner) -> Video:
    """Cancel a video; one that has ended stays as it is."""
    own_job(service, video_id, owner)
    return shown_now(service, service.jobs.cancel(video_id))


@router.post("/{video_id}/remix", openapi_extra=REMIX_BODY)
async def remix(
    video_id: str,
    request: Request,
    service: Shared,
    key: Caller,
    idempotency_key: _IdempotencyKey = None,
) -> Video:
    """Make a video again with another prompt, seed or other field."""
    fields = (await read_body(request)).fields
    webhook_url = _webhook(service, fields)

    def submit() -> Video:
        owner = "" if key is None else key.id
        earlier = own_job(service, video_id, owner).request.model_dump(exclude_none=True)
        # One length and one list of captions: the new one counts.
        replaced = {"seconds": "num_frames", "num_frames": "seconds"}
        for name in fields:
            earlier.pop(replaced.get(name, ""), None)
        if "references" in fields:
            earlier.pop("reference_prompts", None)
        for name in ("seed", "group"):  # of the earlier video alone
            if name not in fields:
                earlier.pop(name, None)
        asked = checked_request(service, {**_plain(earlier), **fields}, owner)
        return _submit(service, key, asked, idempotency_key, webhook_url, video_id)

    return await anyio.to_thread.run_sync(submit)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Tuples as lists, as JSON has them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in fields.items()}


def _webhook(service: Service, fields: dict[str, Any]) -> str | None:
    """Take the address of a webhook out of the fields of a request."""
    url = fields.pop("webhook_url", None)
    if url is None:
        return None
    try:
        if not isinstance(url, str):
            raise TypeError("webhook_url must be a text.")
        service.outbound.check(url)
    except (TypeError, ValueError) as error:
        raise ApiError(400, str(error), code="invalid_url", param="webhook_url") from error
    return url


def _submit(
    service: Service,
    key: Key | None,
    asked: VideoRequest,
    idempotency_key: str | None,
    webhook_url: str | None,
    remixed_from: str | None,
) -> Video:
    most = None if key is None else key.max_queued or service.settings.max_queued_per_key
    try:
        job = service.jobs.submit(
            asked,
            owner="" if key is None else key.id,
            priority=0 if key is None else key.priority,
            idempotency_key=idempotency_key,
            webhook_url=webhook_url,
            remixed_from=remixed_from,
            max_active=most,
        )
    except QueueFullError as error:
        retry = {"Retry-After": "30"}
        raise ApiError(429, str(error), code="queue_full", headers=retry) from error
    except ValueError as error:
        param = "Idempotency-Key"
        raise ApiError(409, str(error), code="idempotency_key_reused", param=param) from error
    return shown_now(service, job)
