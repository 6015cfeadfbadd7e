"""From the body of a request to a video request whose ids are the client's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio.to_thread
from pydantic import ValidationError

from vap.effects.effect import Effect
from vap.effects.library import effects
from vap.files.names import did_you_mean
from vap.generation.request import GenerationRequest, check_settings
from vap.serving.api.body import Body
from vap.serving.api.errors import ApiError, from_validation
from vap.serving.api.receive import store_file, store_url
from vap.serving.api.service import Service
from vap.serving.jobs.request import NamedEffect, SavedPrompt, Upload, VideoRequest
from vap.serving.jobs.resolve import expert_file, frames_of
from vap.serving.uploads.store import UploadedFile

_NOT_ESTIMATED = {"image", "input_reference", "webhook_url"}
_ANY_IMAGE = "upload_00000000"


async def video_request(service: Service, body: Body, owner: str) -> VideoRequest:
    """Store the files of a body, and return the request that it asks for.

    Raises:
        ApiError: If it cannot be done.
    """
    fields = dict(body.fields)
    await _take_image(service, fields, body, owner)
    await _take_references(service, fields, body, owner)
    return await anyio.to_thread.run_sync(checked_request, service, fields, owner)


def checked_request(service: Service, fields: dict[str, Any], owner: str) -> VideoRequest:
    """Return the request of these fields; all that it names is there and fits.

    Raises:
        ApiError: If it cannot be done.
    """
    request = _valid(service, fields, owner)
    image = _owned(service.uploads.get, request.image, owner, "image")
    if image.kind != "image":
        message = f"The upload {request.image} is a video. The first frame must be an image."
        raise ApiError(400, message, code="invalid_value", param="image")
    return request


def request_without_image(service: Service, fields: dict[str, Any], owner: str) -> VideoRequest:
    """Return the request of these fields, whatever they say of the image.

    Raises:
        ApiError: If it cannot be done.
    """
    others = {name: fields[name] for name in fields if name not in _NOT_ESTIMATED}
    if "effect" in others:
        _add_references(others, [{"effect": others.pop("effect")}])
    return _valid(service, {**others, "image": _ANY_IMAGE}, owner)


def _valid(service: Service, fields: dict[str, Any], owner: str) -> VideoRequest:
    _replace_prompts(service, fields, owner)
    try:
        request = VideoRequest.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error) from error
    _check_references(service, request, owner)
    _check_fit(service, request)
    return request


async def _take_image(service: Service, fields: dict[str, Any], body: Body, owner: str) -> None:
    """The first frame: an id, a file, or what OpenAI calls the input reference."""
    given = fields.pop("input_reference", None)
    files = body.files.pop("image", []) + body.files.pop("input_reference", [])
    for file in files:
        upload = await store_file(service, file, owner)
        if upload.kind == "image":
            fields["image"] = upload.id
        else:  # a client that can send one file alone may send a reference video
            _add_references(fields, [{"upload": upload.id}])
    if isinstance(given, dict) and isinstance(given.get("image_url"), str):
        fields["image"] = (await store_url(service, given["image_url"], owner)).id
    elif isinstance(given, dict) and "file_id" in given:
        fields["image"] = given["file_id"]
    elif given is not None:
        message = "input_reference must be a file, or an object with file_id or image_url."
        raise ApiError(400, message, code="invalid_value", param="input_reference")


async def _take_references(
    service: Service, fields: dict[str, Any], body: Body, owner: str
) -> None:
    """References: ids, files, and the name of one effect."""
    for name in ("reference", "references"):
        for file in body.files.pop(name, []):
            upload = await store_file(service, file, owner)
            _add_references(fields, [{"upload": upload.id}])
    if "effect" in fields:
        _add_references(fields, [{"effect": fields.pop("effect")}])
    if isinstance(fields.get("reference_prompts"), str):
        fields["reference_prompts"] = [fields["reference_prompts"]]
    for name in body.files:
        message = f"There is no file {name!r}. Send image, input_reference or reference."
        raise ApiError(400, message, code="invalid_value", param=name)


def _add_references(fields: dict[str, Any], more: list[dict[str, Any]]) -> None:
    there = fields.setdefault("references", [])
    if isinstance(there, list):
        fields["references"] = [*there, *more]


def _replace_prompts(service: Service, fields: dict[str, Any], owner: str) -> None:
    """Put the video and the caption of a stored prompt in its place, unless it is encoded."""
    references = fields.get("references")
    if not isinstance(references, list):
        return
    found, captions = [], []
    for reference in references:
        caption = ""
        if isinstance(reference, dict) and isinstance(reference.get("prompt"), str):
            stored = _owned(service.uploads.prompt, reference["prompt"], owner, "references")
            if stored.upload is not None:
                reference = {"upload": stored.upload}  # noqa: PLW2901 - takes its place
                caption = "".join(stored.reference_prompts)
        found.append(reference)
        captions.append(caption)
    fields["references"] = found
    if any(captions) and not fields.get("reference_prompts"):
        known = {effect.name: effect for effect in effects()}
        fields["reference_prompts"] = [
            caption or _caption(reference, known)
            for reference, caption in zip(found, captions, strict=True)
        ]


def _caption(reference: Any, known: dict[str, Effect]) -> str:
    name = reference.get("effect") if isinstance(reference, dict) else None
    return known[name].reference_prompt if isinstance(name, str) and name in known else ""


def _check_references(service: Service, request: VideoRequest, owner: str) -> None:
    for reference in request.references:
        if isinstance(reference, Upload):
            video = _owned(service.uploads.get, reference.upload, owner, "references")
            if video.kind != "video":
                message = f"The upload {video.id} is an image. A reference must be a video."
                raise ApiError(400, message, code="invalid_value", param="references")
            _check_part(reference, video)
        elif isinstance(reference, SavedPrompt):
            _owned(service.uploads.prompt, reference.prompt, owner, "references")
        else:
            _check_effect(reference)


def _check_part(reference: Upload, video: UploadedFile) -> None:
    assert video.seconds is not None
    if reference.start is not None and reference.start >= video.seconds:
        message = (
            f"The reference starts at {reference.start:g} s, and the video lasts "
            f"{video.seconds:g} s. Start earlier."
        )
        raise ApiError(400, message, code="invalid_value", param="references")


def _check_effect(reference: NamedEffect) -> None:
    """See that an effect is in the library; its name is never a path."""
    names = [name for effect in effects() for name in (effect.name, effect.id)]
    if reference.effect not in names:
        hint = did_you_mean(reference.effect, names)
        message = f"There is no effect {reference.effect!r}.{hint} GET /v1/effects lists all."
        raise ApiError(400, message, code="not_found", param="references")


def _owned(get: Any, name: str, owner: str, param: str) -> Any:
    try:
        return get(name, owner)
    except KeyError:
        message = f"There is no {name!r}. Upload it first."
        raise ApiError(400, message, code="not_found", param=param) from None


def _check_fit(service: Service, request: VideoRequest) -> None:
    """Refuse what the model cannot do, before a worker tries."""
    models = service.settings.models
    model = request.model or models[0]
    if model not in models:
        message = f"There is no model {model!r}. Use one of: {', '.join(models)}."
        raise ApiError(400, message, code="model_not_found", param="model")
    try:
        expert_file(service.settings, model, request.expert)
    except FileNotFoundError as error:
        raise ApiError(400, str(error), code="expert_not_found", param="expert") from error
    height, width = request.height_width or (None, None)
    try:
        frames = request.num_frames
        if request.seconds is not None:
            frames = frames_of(model, request.seconds)
        check_settings(
            GenerationRequest(
                Path("image"),
                model=model,
                height=height,
                width=width,
                num_frames=frames,
                num_inference_steps=request.num_inference_steps,
            )
        )
    except (ValueError, FileNotFoundError) as error:
        field = "num_inference_steps" if "num_inference_steps" in str(error) else "size"
        raise ApiError(400, str(error), code="invalid_value", param=field) from error
