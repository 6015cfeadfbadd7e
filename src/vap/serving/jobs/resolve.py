"""From a client's request to one with files, on the machine of the worker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vap.effects.library import find_effect
from vap.files.folders import GenerationDefaults, family_of, generation_defaults_of, native_video
from vap.files.names import find_folder
from vap.generation.request import GenerationRequest
from vap.serving.jobs.model_process import Task
from vap.serving.jobs.request import NamedEffect, Part, Upload, VideoRequest
from vap.serving.media_store import MediaStore
from vap.serving.settings import Settings

# Fields that mean the same in both; None leaves the choice to effect or model.
_SAME = (
    "negative_prompt", "num_frames", "num_inference_steps", "guidance_scale",
    "reference_guidance_scale", "strength", "profile",
)  # fmt: skip


def upload_key(upload_id: str) -> str:
    """Return the media key of an upload."""
    return f"uploads/{upload_id}"


def prompt_key(prompt_id: str) -> str:
    """Return the media key of encoded references."""
    return f"prompts/{prompt_id}.safetensors"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A generation request, and which part of each of its references is used."""

    request: GenerationRequest
    parts: tuple[Part, ...]


def resolve(task: Task, media: MediaStore) -> Resolved:
    """Return the generation request of a task, its files on this machine.

    Raises:
        FileNotFoundError: If an upload, a prompt or an effect is gone.
        ValueError: If references cannot be combined.
    """
    asked, settings = task.request, task.settings
    chosen, parts = _references(asked, media, task.folder)
    chosen.update(
        (name, getattr(asked, name)) for name in _SAME if getattr(asked, name) is not None
    )
    if asked.prompt:
        chosen["prompt"] = asked.prompt
    if asked.height_width is not None:
        chosen["height"], chosen["width"] = asked.height_width
    chosen.setdefault("profile", settings.profile)
    chosen |= {"model": task.model, "seed": task.seed}
    chosen["expert"] = expert_file(settings, task.model, asked.expert)
    chosen |= {"device": settings.device, "memory": settings.memory}
    image = media.local(upload_key(asked.image), task.folder)
    request = GenerationRequest(image=image, **chosen)
    if asked.seconds is not None:
        request = replace(request, num_frames=frames_of(task.model, asked.seconds))
    return Resolved(request, parts)


def expert_file(settings: Settings, model: str, name: str | None) -> Path | None:
    """Return the file of an expert; None for the model's own.

    Raises:
        FileNotFoundError: If there is no such expert here.
    """
    if name is None or name == model:
        return None
    file = settings.experts_of(model).get(name)
    if file is None:
        raise FileNotFoundError(
            f"There is no expert {name!r} for {model} here. GET /v1/experts lists all."
        )
    return file


def frames_of(model: str, seconds: float) -> int:
    """Return how many frames a model makes for a length, rounded to what it can make."""
    folder = find_folder(model)
    _, compression = native_video(folder, family_of(folder))
    fps = GenerationDefaults(**generation_defaults_of(folder)).fps
    return max(0, round((seconds * fps - 1) / compression.temporal)) * compression.temporal + 1


def _references(
    asked: VideoRequest, media: MediaStore, folder: Path
) -> tuple[dict[str, Any], tuple[Part, ...]]:
    """The fields that references decide, those of effects included, and parts of the references."""
    chosen: dict[str, Any] = {}
    references: list[Path] = []
    captions: list[str] = []
    parts: list[Part] = []
    for reference in asked.references:
        if isinstance(reference, Upload):
            references.append(media.local(upload_key(reference.upload), folder))
            captions.append("")
            parts.append(reference)
        elif isinstance(reference, NamedEffect):
            effect = find_effect(reference.effect)
            fields = {**effect.request(), "effect": effect.id}
            own = fields.pop("references", ())
            references += own
            parts += [Part()] * len(own)
            captions += fields.pop("reference_prompts", ())
            chosen.update(fields)
        else:
            chosen["video_prompt"] = media.local(prompt_key(reference.prompt), folder)
    if "video_prompt" in chosen and len(asked.references) > 1:
        raise ValueError("An encoded prompt must be the only reference. Leave out the others.")
    if asked.reference_prompts and "video_prompt" not in chosen:
        captions = list(asked.reference_prompts)
    chosen |= {"references": tuple(references), "reference_prompts": tuple(captions)}
    return chosen, tuple(parts)
