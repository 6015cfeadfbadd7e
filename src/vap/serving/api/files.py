"""``/v1/uploads`` and ``/v1/prompts``: files and references to be used by id."""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response

from vap.media import files as media
from vap.media.files import HEAD_BYTES, identify
from vap.serving.api.body import Body, read_body
from vap.serving.api.content import send_media
from vap.serving.api.documents import PROMPT_BODY, UPLOAD_BODY
from vap.serving.api.errors import ApiError
from vap.serving.api.receive import check_quota, checked, store_file, store_url
from vap.serving.api.service import Owner, Service, Shared
from vap.serving.api.shown import (
    Deleted,
    Prompt,
    PromptList,
    StoredUpload,
    UploadList,
    shown_prompt,
    shown_upload,
)
from vap.serving.jobs.resolve import upload_key

router = APIRouter(prefix="/v1", tags=["files"])

_Limit = Annotated[int, Query(ge=1, le=1000)]
_MOST_LETTERS = 10_000
_TYPES = {
    media.MP4: "video/mp4",
    media.MATROSKA: "video/webm",
    media.GIF: "image/gif",
    media.PNG: "image/png",
    media.ANIMATED_PNG: "image/png",
    media.JPEG: "image/jpeg",
    media.WEBP: "image/webp",
    media.ANIMATED_WEBP: "image/webp",
    media.AVIF: "image/avif",
}


@router.post("/uploads", openapi_extra=UPLOAD_BODY)
async def upload(request: Request, service: Shared, owner: Owner) -> StoredUpload:
    """Upload an image or a video; the same file has the same id again."""
    body = await read_body(request)
    file = _one_file(body)
    url = body.fields.pop("url", None)
    _no_more(body)
    if file is None and isinstance(url, str):
        return shown_upload(await store_url(service, url, owner))
    if file is None:
        raise ApiError(400, "Send a file.", code="invalid_value", param="file")
    return shown_upload(await store_file(service, file, owner))


@router.get("/uploads")
def list_uploads(service: Shared, owner: Owner, limit: _Limit = 100) -> UploadList:
    """List uploads, the newest first."""
    found = service.uploads.list(owner, limit=limit)
    return UploadList(data=[shown_upload(each) for each in found])


@router.get("/uploads/{upload_id}")
def get_upload(upload_id: str, service: Shared, owner: Owner) -> StoredUpload:
    """Tell what an upload is."""
    return shown_upload(_found(service.uploads.get, upload_id, owner))


@router.get(
    "/uploads/{upload_id}/content",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}, "image/*": {}, "video/*": {}}},
        206: {"description": "A part of it.", "content": {"video/*": {}}},
    },
)
def upload_content(upload_id: str, request: Request, service: Shared, owner: Owner) -> Response:
    """Send an upload as it came."""
    _found(service.uploads.get, upload_id, owner)
    key = upload_key(upload_id)
    try:
        with service.media.open(key) as file:
            kind = _TYPES.get(identify(file.read(HEAD_BYTES)))
        return send_media(service, key, request.headers.get("range"), kind)
    except FileNotFoundError:
        raise ApiError(404, "The file is gone.", code="not_found") from None


@router.delete("/uploads/{upload_id}")
def delete_upload(upload_id: str, service: Shared, owner: Owner) -> Deleted:
    """Delete an upload; videos that wait for it will fail."""
    _found(service.uploads.get, upload_id, owner)
    service.uploads.delete(upload_id, owner)
    return Deleted(id=upload_id, object="upload.deleted")


@router.post("/prompts", openapi_extra=PROMPT_BODY)
async def create_prompt(request: Request, service: Shared, owner: Owner) -> Prompt:
    """Keep a reference under one id: a video with its caption, or a video prompt file."""
    body = await read_body(request)
    file, given = _one_file(body), body.fields.pop("upload", None)
    caption = body.fields.pop("reference_prompt", "")
    _no_more(body)
    if not isinstance(caption, str) or len(caption) > _MOST_LETTERS:
        message = f"reference_prompt must be a text of at most {_MOST_LETTERS} letters."
        raise ApiError(400, message, code="invalid_value", param="reference_prompt")
    if isinstance(given, str):
        video = await anyio.to_thread.run_sync(_found, service.uploads.get, given, owner)
        return await anyio.to_thread.run_sync(_keep_video, service, video, caption, owner)
    if file is None:
        raise ApiError(400, "Send a file, or the id of an upload.", code="invalid_value")
    async with checked(service, file.file) as (path, probed):
        if probed.kind == "video_prompt":
            check_quota(service, owner, path.stat().st_size)
            captions = probed.captions

            def keep() -> Prompt:
                return shown_prompt(service.uploads.add_prompt(owner, captions, encoded=path))

            return await anyio.to_thread.run_sync(keep)
    video = await store_file(service, file, owner)
    return await anyio.to_thread.run_sync(_keep_video, service, video, caption, owner)


@router.get("/prompts")
def list_prompts(service: Shared, owner: Owner, limit: _Limit = 100) -> PromptList:
    """List stored prompts, the newest first."""
    found = service.uploads.prompts(owner, limit=limit)
    return PromptList(data=[shown_prompt(each) for each in found])


@router.get("/prompts/{prompt_id}")
def get_prompt(prompt_id: str, service: Shared, owner: Owner) -> Prompt:
    """Tell what a stored prompt is."""
    return shown_prompt(_found(service.uploads.prompt, prompt_id, owner))


@router.delete("/prompts/{prompt_id}")
def delete_prompt(prompt_id: str, service: Shared, owner: Owner) -> Deleted:
    """Delete a stored prompt; its video stays as an upload."""
    _found(service.uploads.prompt, prompt_id, owner)
    service.uploads.delete_prompt(prompt_id, owner)
    return Deleted(id=prompt_id, object="prompt.deleted")


def _keep_video(service: Service, video: Any, caption: str, owner: str) -> Prompt:
    if video.kind != "video":
        message = f"The upload {video.id} is an image. A reference must be a video."
        raise ApiError(400, message, code="invalid_value", param="upload")
    return shown_prompt(service.uploads.add_prompt(owner, (caption,), upload=video.id))


def _found(get: Any, name: str, owner: str) -> Any:
    try:
        return get(name, owner)
    except KeyError:
        raise ApiError(404, "There is no such id.", code="not_found") from None


def _one_file(body: Body) -> Any:
    files = body.files.pop("file", [])
    if len(files) > 1:
        raise ApiError(400, "Send one file at a time.", code="invalid_value", param="file")
    return files[0] if files else None


def _no_more(body: Body) -> None:
    for name in (*body.fields, *body.files):
        message = f"There is no field {name!r}. Leave it out."
        raise ApiError(400, message, code="invalid_value", param=name)
