"""``/v1/models`` and ``/v1/experts``: what this service generates with."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from vap.cost.released import RELEASED_MODELS
from vap.files.folders import (
    GenerationDefaults,
    compression_of,
    family_of,
    generation_defaults_of,
    native_video,
    read_json,
)
from vap.files.names import full_name, known_models, local_model
from vap.serving.api.errors import ApiError
from vap.serving.api.service import Shared
from vap.serving.experts import expert_blocks
from vap.shapes import Compression, PixelShape

router = APIRouter(prefix="/v1", tags=["models"])


class Model(BaseModel):
    """A model, and what it makes by default.

    Width and height of a video must be multiples of ``size_multiple``.
    """

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "video-as-prompt"
    description: str
    family: str | None = None
    size: str | None = None
    size_multiple: int | None = None
    num_frames: int | None = None
    fps: float | None = None
    defaults: dict[str, Any] = {}


class ModelList(BaseModel):
    """The models of this service; the first is the default."""

    object: Literal["list"] = "list"
    data: list[Model]


class Expert(BaseModel):
    """An expert for a model: which blocks of the backbone it is coupled to.

    The model's own expert has the name of the model.
    """

    id: str
    object: Literal["expert"] = "expert"
    model: str
    family: str | None = None
    blocks: list[int]


class ExpertList(BaseModel):
    """The experts that a request may choose."""

    object: Literal["list"] = "list"
    data: list[Expert]


@router.get("/models")
def list_models(service: Shared) -> ModelList:
    """List the models of this service."""
    return ModelList(data=[_model(name) for name in service.settings.models])


@router.get("/models/{model:path}")
def get_model(model: str, service: Shared) -> Model:
    """Describe a model."""
    if model not in service.settings.models:
        raise ApiError(404, "There is no such model.", code="model_not_found", param="model")
    return _model(model)


@router.get("/experts")
def list_experts(service: Shared) -> ExpertList:
    """List the experts that a request may choose, by model; first the model's own."""
    found = []
    for model in service.settings.models:
        own = _expert(model)
        found.append(own)
        for name, file in service.settings.experts_of(model).items():
            found.append(own.model_copy(update={"id": name, "blocks": expert_blocks(file)}))
    return ExpertList(data=found)


def _model(name: str) -> Model:
    described = {each.name: each.description for each in known_models()}
    description = described.get(full_name(name), "")
    folder, released = local_model(name), RELEASED_MODELS.get(full_name(name))
    if folder is not None:
        family = family_of(folder)
        shape, compression = native_video(folder, family)
        defaults = generation_defaults_of(folder)
        return _with_shape(
            name,
            description,
            family,
            shape,
            compression,
            GenerationDefaults(**defaults).fps,
            defaults,
        )
    if released is not None:
        fps = {"wan": 16.0, "cogvideox": 8.0}[released.family]
        compression = compression_of(released.transformer, released.vae)
        return _with_shape(name, description, released.family, released.shape, compression, fps, {})
    return Model(id=name, description=description)


def _with_shape(
    name: str,
    description: str,
    family: str,
    shape: PixelShape,
    compression: Compression,
    fps: float,
    defaults: dict[str, Any],
) -> Model:
    return Model(
        id=name,
        description=description,
        family=family,
        size=f"{shape.width}x{shape.height}",
        size_multiple=compression.spatial * compression.patch[1],
        num_frames=shape.frames,
        fps=fps,
        defaults=defaults,
    )


def _expert(name: str) -> Expert:
    folder, released = local_model(name), RELEASED_MODELS.get(full_name(name))
    config: dict[str, Any] = {}
    family = None
    if folder is not None:
        config, family = read_json(folder / "transformer" / "config.json"), family_of(folder)
    elif released is not None:
        config, family = dict(released.transformer), released.family
    blocks = config.get("block_idx_with_mot_ref") or []
    return Expert(id=name, model=name, family=family, blocks=list(blocks))
