"""``/v1/captions``: captions to read and edit before a video is made."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import anyio.to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel

from vap.captioning.writer import VARIABLE
from vap.process import quiet_libraries
from vap.serving.api.body import read_body
from vap.serving.api.create import checked_request
from vap.serving.api.documents import CAPTIONS_BODY
from vap.serving.api.errors import ApiError
from vap.serving.api.helper import in_helper
from vap.serving.api.service import Owner, Shared
from vap.serving.jobs.model_process import Task
from vap.serving.jobs.request import VideoRequest
from vap.serving.settings import Settings
from vap.serving.uploads.check import RefusedUploadError

_logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["videos"])

_FIELDS = ("reference", "image", "model", "reference_prompt", "prompt")


class Captions(BaseModel):
    """Captions of a reference and of the video to be made, and who wrote what was missing."""

    object: Literal["captions"] = "captions"
    reference_prompt: str
    prompt: str
    writer: str


@router.post("/captions", openapi_extra=CAPTIONS_BODY)
async def write_captions(request: Request, service: Shared, owner: Owner) -> Captions:
    """Have the captions written that are not given; the same question is asked once."""
    fields = (await read_body(request)).fields
    for name in fields:
        if name not in _FIELDS:
            message = f"There is no field {name!r}. Use {', '.join(_FIELDS)}."
            raise ApiError(400, message, code="invalid_value", param=name)
    captioner = service.settings.captioner or os.environ.get(VARIABLE, "")
    if captioner in {"", "none"}:
        message = (
            "This service has no prompt writer. Start it with the setting captioner (gemini, "
            f"openai:URL#MODEL or local:MODEL) or {VARIABLE}, or write the prompts yourself."
        )
        raise ApiError(409, message, code="no_captioner")
    asked = await anyio.to_thread.run_sync(checked_request, service, _request_fields(fields), owner)
    try:
        written = await in_helper(service.captions, _write, asked, service.settings, captioner)
    except RefusedUploadError as error:
        raise ApiError(400, str(error), code="invalid_upload") from error
    except (ValueError, OSError, ImportError) as error:
        _logger.warning("No captions could be written.", exc_info=error)
        message = "The prompt writer of this service gave no captions. The log says more."
        raise ApiError(502, message, code="captions_failed") from error
    return Captions(**written)


def _request_fields(given: dict[str, Any]) -> dict[str, Any]:
    """The fields as those of a video, which are checked."""
    same = ("image", "model", "prompt")
    fields: dict[str, Any] = {name: given[name] for name in same if name in given}
    if "reference" not in given:
        message = 'Give a reference, such as {"upload": ID}.'
        raise ApiError(400, message, code="invalid_value", param="reference")
    fields["references"] = [given["reference"]]
    if given.get("reference_prompt"):
        fields["reference_prompts"] = [given["reference_prompt"]]
    return fields


def _write(asked: VideoRequest, settings: Settings, captioner: str) -> dict[str, str]:
    """Ask the writer what a worker would ask; in a process of its own, which may load a model."""
    with quiet_libraries(), tempfile.TemporaryDirectory(prefix="vap-captions-") as folder:
        from vap.captioning.prompts import with_prompts
        from vap.effects.library import find_effect
        from vap.serving.jobs.decoded import decode_inputs
        from vap.serving.jobs.resolve import resolve
        from vap.serving.media_store import MediaStore

        model = asked.model or settings.models[0]
        task = Task("captions", asked, model, 0, Path(folder), settings)
        found = resolve(task, MediaStore(settings.media_url))
        decoded = decode_inputs(found.request, found.parts, task.folder, settings.probe_limits)
        request = decoded.request
        effect = None if request.effect is None else find_effect(request.effect)
        written = with_prompts(request, captioner, effect=effect)
        return {
            "reference_prompt": "".join(written.reference_prompts),
            "prompt": written.prompt,
            "writer": written.captions_by or "",
        }
