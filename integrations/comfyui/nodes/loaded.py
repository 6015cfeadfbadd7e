"""The one model that stays loaded between nodes and runs."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass, replace
from typing import Any

import comfy.model_management
import torch

import vap
from vap.acceleration.plan import WantedVideo

from .wires import Model


@dataclass(frozen=True)
class _Loaded:
    model: Model
    video: WantedVideo | None  # What memory was planned for
    pipeline: Any


_loaded: _Loaded | None = None


def pipeline_for(model: Model, video: WantedVideo | None = None) -> Any:
    """Return the pipeline of a model, with memory planned for at least this video."""
    global _loaded  # noqa: PLW0603 - the one place where a model is kept
    if _loaded is None or _loaded.model != model or not _is_enough(_loaded, video):
        free()
        # ComfyUI's own models make room.
        comfy.model_management.unload_all_models()
        _loaded = _Loaded(model, video, _load(model, video))
    return _loaded.pipeline


def encoders_of(model: Model, video: WantedVideo | None = None) -> Any:
    """Return a pipeline with the encoders and the VAE of a model, which no LoRA changes."""
    if _loaded is not None and replace(_loaded.model, lora=model.lora) == model:
        model = _loaded.model
    return pipeline_for(model, video)


def free() -> None:
    """Free the memory of the loaded model."""
    global _loaded  # noqa: PLW0603
    _loaded = None
    gc.collect()
    comfy.model_management.soft_empty_cache()


def _load(model: Model, video: WantedVideo | None) -> Any:
    options = {name: value for name, value in asdict(model).items() if name != "name"}
    # Weights that are loaded in ComfyUI's inference mode cannot be compiled.
    with torch.inference_mode(mode=False):
        pipeline = vap.load_pipeline(
            model.name,
            device=comfy.model_management.get_torch_device(),
            video=video,
            **options,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _is_enough(loaded: _Loaded, video: WantedVideo | None) -> bool:
    native = loaded.pipeline.defaults

    def pixels(wanted: WantedVideo) -> int:
        height, width = wanted.height or native.height, wanted.width or native.width
        return height * width * (wanted.num_frames or native.num_frames) * (1 + wanted.references)

    return video is None or pixels(video) <= pixels(loaded.video or WantedVideo())
