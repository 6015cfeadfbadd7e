"""``/v1/effects``: the effects of the library."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.datastructures import UploadFile

from vap.effects.effect import Effect as StoredEffect
from vap.effects.library import effects, install
from vap.serving.api.body import read_body
from vap.serving.api.content import media_type
from vap.serving.api.documents import UPLOAD_BODY
from vap.serving.api.errors import ApiError
from vap.serving.api.receive import write_file
from vap.serving.api.service import Shared

router = APIRouter(prefix="/v1/effects", tags=["effects"])

Part = Literal["preview", "reference", "image"]


class Effect(BaseModel):
    """An effect: give its name in place of a reference."""

    id: str
    object: Literal["effect"] = "effect"
    name: str
    title: str
    description: str
    category: str
    author: str
    license: str
    hint: str
    model: str
    tags: list[str]
    prompt: str
    reference_prompt: str
    settings: dict[str, Any]
    encoded: bool
    parts: list[Part]


class EffectList(BaseModel):
    """The effects of the library."""

    object: Literal["list"] = "list"
    data: list[Effect]


@router.get("")
def list_effects() -> EffectList:
    """List effects."""
    return EffectList(data=[_shown(each) for each in effects()])


@router.get("/{name}")
def get_effect(name: str) -> Effect:
    """Describe an effect."""
    return _shown(_found(name))


@router.get(
    "/{name}/{part}",
    response_class=FileResponse,
    responses={200: {"content": {"video/mp4": {}, "image/png": {}, "image/webp": {}}}},
)
def effect_file(name: str, part: Part) -> FileResponse:
    """Send the preview, the reference video or the example image of an effect."""
    path: Path | None = getattr(_found(name), part)
    if path is None:
        raise ApiError(404, f"The effect has no {part}.", code="not_found", param="part")
    return FileResponse(
        path, media_type=media_type(path), headers={"Cache-Control": "private, max-age=3600"}
    )


@router.post("", openapi_extra=UPLOAD_BODY)
async def add_effect(request: Request, service: Shared) -> Effect:
    """Install an effect of a .zip file, where that is enabled."""
    if not service.settings.allow_effect_uploads:
        message = "This service installs no effects of clients. Use `vap effect install` on it."
        raise ApiError(403, message, code="effects_not_allowed")
    files = (await read_body(request)).files.get("file", [])
    if len(files) != 1:
        raise ApiError(400, "Send one file.", code="invalid_value", param="file")
    return await anyio.to_thread.run_sync(_install, files[0])


def _install(file: UploadFile) -> Effect:
    with tempfile.TemporaryDirectory(prefix="vap-effect-") as folder:
        path = Path(folder) / "effect.zip"
        write_file(file.file, path)
        try:
            return _shown(install(path))
        except FileExistsError as error:
            raise ApiError(409, str(error), code="exists") from error
        except (OSError, ValueError) as error:
            message = str(error).replace(str(path), "The file")
            raise ApiError(400, message, code="invalid_upload") from error


def _found(name: str) -> StoredEffect:
    """An effect by its name; a name is compared, never opened."""
    for effect in effects():
        if name in (effect.name, effect.id):
            return effect
    message = f"There is no effect {name!r}. GET /v1/effects lists all."
    raise ApiError(404, message, code="not_found", param="name")


def _shown(effect: StoredEffect) -> Effect:
    values = {key: value for key, value in effect.as_json().items() if key != "folder"}
    parts: tuple[Part, ...] = ("preview", "reference", "image")
    there = [part for part in parts if getattr(effect, part) is not None]
    return Effect(**values, parts=there)
