"""Takes in files of clients: to the disk, checked, into the media store."""

from __future__ import annotations

import base64
import binascii
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import anyio.to_thread
from starlette.datastructures import UploadFile

from vap.files.errors import MachineError
from vap.serving.api.errors import ApiError
from vap.serving.api.service import Service
from vap.serving.content_filter import RefusedContentError
from vap.serving.outbound import OutboundError
from vap.serving.uploads.check import RefusedUploadError, check_file
from vap.serving.uploads.probe import Probed
from vap.serving.uploads.store import UploadedFile

_NAME_LETTERS = 100


@asynccontextmanager
async def checked(service: Service, file: IO[bytes]) -> AsyncIterator[tuple[Path, Probed]]:
    """Write a file to the disk and check it; it is gone in the end.

    Raises:
        ApiError: If it is not accepted.
    """
    with tempfile.TemporaryDirectory(prefix="vap-upload-") as folder:
        path = Path(folder) / "upload"
        await anyio.to_thread.run_sync(write_file, file, path)
        yield path, await _probed(service, path)


async def store_file(service: Service, file: UploadFile, owner: str) -> UploadedFile:
    """Check an image or video, and store it.

    Raises:
        ApiError: If it is not accepted.
    """
    async with checked(service, file.file) as (path, probed):
        return await anyio.to_thread.run_sync(_store, service, path, probed, owner, file.filename)


async def store_url(service: Service, url: str, owner: str) -> UploadedFile:
    """Store the image or video of a data URL or, where that is enabled, of another host.

    Raises:
        ApiError: If it is not accepted.
    """
    with tempfile.TemporaryDirectory(prefix="vap-upload-") as folder:
        path = Path(folder) / "upload"
        await anyio.to_thread.run_sync(_download, service, url, path)
        probed = await _probed(service, path)
        return await anyio.to_thread.run_sync(_store, service, path, probed, owner, "")


async def _probed(service: Service, path: Path) -> Probed:
    try:
        return await anyio.to_thread.run_sync(
            check_file, path, service.settings.probe_limits, limiter=service.checks
        )
    except RefusedContentError as error:
        raise ApiError(400, str(error), code="content_refused") from error
    except RefusedUploadError as error:
        raise ApiError(400, str(error), code="invalid_upload") from error
    except MachineError as error:
        raise ApiError(503, str(error), code="overloaded") from error


def write_file(file: IO[bytes], path: Path) -> None:
    """Write a file that was received to the disk."""
    file.seek(0)
    with path.open("wb") as target:
        shutil.copyfileobj(file, target)


def _store(
    service: Service, path: Path, probed: Probed, owner: str, name: str | None
) -> UploadedFile:
    if probed.kind == "video_prompt":
        message = "This is an encoded video prompt. Send it to /v1/prompts."
        raise ApiError(400, message, code="invalid_upload")
    check_quota(service, owner, path.stat().st_size)
    shown = "".join(filter(str.isprintable, name or ""))[:_NAME_LETTERS]
    return service.uploads.add(path, probed, owner, shown)


def check_quota(service: Service, owner: str, more: int) -> None:
    """Refuse a file for which an owner has no room.

    Raises:
        ApiError: If there is none.
    """
    most = service.settings.upload_quota
    if most and service.uploads.bytes_of(owner) + more > most:
        message = f"Your uploads would take more than {most:,} bytes. Delete some."
        raise ApiError(413, message, code="quota_exceeded")


def _download(service: Service, url: str, path: Path) -> None:
    if url.startswith("data:"):
        try:
            path.write_bytes(base64.b64decode(url.partition(",")[2], validate=True))
        except (binascii.Error, ValueError) as error:
            message = "The data URL must be base64, such as data:image/png;base64,…"
            raise ApiError(400, message, code="invalid_url") from error
        return
    if not service.settings.allow_urls:
        message = "This service fetches no URLs. Send the file, or its id."
        raise ApiError(400, message, code="urls_not_allowed")
    try:
        service.outbound.download(url, path, service.settings.upload_bytes)
    except (OutboundError, ValueError) as error:
        raise ApiError(400, str(error), code="invalid_url") from error
