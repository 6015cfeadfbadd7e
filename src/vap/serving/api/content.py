"""The files of a video: itself, thumbnail, preview, contact sheet."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from vap.serving.api.errors import ApiError
from vap.serving.api.service import Owner, Service, Shared
from vap.serving.api.videos import own_job
from vap.serving.jobs.job import Job

router = APIRouter(prefix="/v1/videos", tags=["videos"])

Variant = Literal["video", "thumbnail", "spritesheet", "preview"]

_KINDS = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".gif": "image/gif",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CHUNK = 1 << 16
_SHEET_FRAMES, _SHEET_COLUMNS, _SHEET_WIDTH = 16, 4, 160


@router.get(
    "/{video_id}/content",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"video/mp4": {}, "image/jpeg": {}, "image/png": {}, "image/webp": {}}},
        206: {"description": "A part of it.", "content": {"video/mp4": {}}},
    },
)
def content(
    video_id: str,
    request: Request,
    service: Shared,
    owner: Owner,
    variant: Variant = "video",
) -> Response:
    """Send the video, or an image of it; parts of it by ranges."""
    job = own_job(service, video_id, owner)
    if job.video is None and variant != "preview":
        message = f"The video is {job.state}. Wait until it is completed."
        raise ApiError(409, message, code="not_ready")
    try:
        if variant == "spritesheet":
            return Response(_spritesheet(service, job), media_type="image/jpeg")
        keys = {"video": job.video, "thumbnail": job.thumbnail, "preview": job.preview}
        key = keys[variant]
        if key is None:
            raise ApiError(404, f"The video has no {variant}.", code="not_found", param="variant")
        return send_media(service, key, request.headers.get("range"))
    except FileNotFoundError:
        message = "The file is gone: it has expired, or was deleted."
        raise ApiError(404, message, code="not_found") from None


def media_type(path: Path) -> str:
    """Return the type of a file by its name: never one that a browser runs."""
    return _KINDS.get(path.suffix.lower(), "application/octet-stream")


def send_media(service: Service, key: str, asked: str | None, kind: str | None = None) -> Response:
    """Send a file of the media store, or the range of it that is asked for."""
    size = service.media.size(key)
    kind = kind or media_type(Path(key))
    headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=3600"}
    part = range_of(asked or "", size)
    first, last = part or (0, size - 1)
    status = 200 if part is None else 206
    if part is not None:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    headers["Content-Length"] = str(last - first + 1)
    service.media.open(key).close()  # one that is gone is found out before the answer begins
    return StreamingResponse(_part(service, key, first, last), status, headers, media_type=kind)


def range_of(asked: str, size: int) -> tuple[int, int] | None:
    """Return the first and the last byte that a Range header asks for; None for the whole file.

    Raises:
        ApiError: If there are no such bytes.
    """
    match = _RANGE.fullmatch(asked)
    if match is None or not any(match.groups()):
        return None  # several ranges, too: a server may send more than is asked for
    if match[1]:
        first, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:  # the last so many bytes
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        unmet = {"Content-Range": f"bytes */{size}"}
        raise ApiError(416, "The file is shorter.", code="range_not_satisfiable", headers=unmet)
    return first, last


def _part(service: Service, key: str, first: int, last: int) -> Iterator[bytes]:
    left = last - first + 1
    with service.media.open(key) as file:
        file.seek(first)
        while left and (chunk := file.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk


def _spritesheet(service: Service, job: Job) -> bytes:
    """A contact sheet of frames in order, as JPEG."""
    from PIL import Image

    from vap.media import read_clip, select_frames

    assert job.video is not None
    with tempfile.TemporaryDirectory(prefix="vap-sheet-") as folder:
        clip = read_clip(
            service.media.local(job.video, Path(folder)),
            frame_indices=lambda count: select_frames(count, min(count, _SHEET_FRAMES)),
        )
    count, height, width = clip.frames.shape[:3]
    size = (_SHEET_WIDTH, max(1, round(_SHEET_WIDTH * height / width)))
    columns = min(_SHEET_COLUMNS, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * size[0], rows * size[1]))
    for number, frame in enumerate(clip.frames):
        row, column = divmod(number, columns)
        sheet.paste(Image.fromarray(frame).resize(size), (column * size[0], row * size[1]))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=85)
    return file.getvalue()
