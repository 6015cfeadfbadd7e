"""Video-As-Prompt: animate an image with the semantics of a reference video."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vap.captioning.prompts import write_prompts as write_prompts
    from vap.loading.pipeline import load_pipeline as load_pipeline
    from vap.media.write import write_video as write_video
    from vap.models.cogvideox import (
        CogVideoXVideoAsPromptTransformer3DModel as CogVideoXVideoAsPromptTransformer3DModel,
    )
    from vap.models.wan import (
        WanVideoAsPromptTransformer3DModel as WanVideoAsPromptTransformer3DModel,
    )
    from vap.pipelines.cogvideox import (
        CogVideoXVideoAsPromptPipeline as CogVideoXVideoAsPromptPipeline,
    )
    from vap.pipelines.video_prompt import VideoPrompt as VideoPrompt
    from vap.pipelines.wan import WanVideoAsPromptPipeline as WanVideoAsPromptPipeline

__version__ = "0.2.0"

# Importing torch and diffusers takes seconds; `vap --help` and tools should not wait for them.
_HOMES = {
    "write_prompts": "vap.captioning.prompts",
    "load_pipeline": "vap.loading.pipeline",
    "write_video": "vap.media.write",
    "VideoPrompt": "vap.pipelines.video_prompt",
    "WanVideoAsPromptPipeline": "vap.pipelines.wan",
    "CogVideoXVideoAsPromptPipeline": "vap.pipelines.cogvideox",
    "WanVideoAsPromptTransformer3DModel": "vap.models.wan",
    "CogVideoXVideoAsPromptTransformer3DModel": "vap.models.cogvideox",
}

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - names are resolved lazily


def __getattr__(name: str) -> Any:
    """Resolve a public name when it is first used."""
    if name not in _HOMES:
        message = f"module 'vap' has no attribute {name!r}; it has {', '.join(sorted(_HOMES))}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
