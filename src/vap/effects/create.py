"""Make an effect of a reference."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vap.effects.effect import Effect, read_effect
from vap.effects.manifest import MANIFEST, manifest_text, parse_manifest
from vap.files.atomic import atomic_folder
from vap.media import probe_clip, read_image


def create_effect(
    folder: str | Path,
    *,
    name: str,
    title: str = "",
    reference: str | Path | None = None,
    video_prompt: str | Path | None = None,
    preview: str | Path | None = None,
    image: str | Path | None = None,
    reference_prompt: str = "",
    prompt: str = "",
    model: str = "",
    settings: Mapping[str, Any] | None = None,
    description: str = "",
    category: str = "",
    author: str = "",
    license: str = "",  # noqa: A002 - the word of manifests
    hint: str = "",
    tags: Sequence[str] = (),
) -> Effect:
    """Write an effect into a new folder.

    Args:
        folder: The folder to make.
        name: ``name`` or ``author/name``, in small letters.
        title: Its name for people; by default made of the name.
        reference: The reference video, unless ``video_prompt`` is given.
        video_prompt: The encoded reference, a file of ``vap prompt encode``.
        preview: A result of the effect; by default the reference.
        image: The image that the preview was made of.
        reference_prompt: Caption of the reference.
        prompt: Caption of a result; ``{subject}`` stands for the caption of the image.
        model: The model that the video prompt or the settings are for.
        settings: Settings that suit, see :class:`vap.effects.manifest.EffectSettings`.
        description: What happens.
        category: Such as ``concept``, ``style``, ``motion`` or ``camera``.
        author: Who made it.
        license: Under which license it may be used.
        hint: Which subjects suit.
        tags: Words to find it by.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there is neither or both of the references, or a value is not allowed.
        MediaError: If a file cannot be read, or the folder is not empty.
    """
    if (reference is None) == (video_prompt is None):
        raise ValueError("Give a reference video or a video prompt, and not both.")
    files = {
        "reference": reference,
        "video_prompt": video_prompt,
        "preview": preview,
        "image": image,
    }
    sources = {role: Path(path) for role, path in files.items() if path is not None}
    _check(sources)
    placed = {role: f"{role}{path.suffix.lower()}" for role, path in sources.items()}
    shown = placed.get("preview") or placed.get("reference")
    inputs: dict[str, str] = {"image": placed["image"]} if "image" in placed else {}
    section: dict[str, Any] = {
        **{role: placed[role] for role in ("reference", "video_prompt") if role in placed},
        **_given(reference_prompt=reference_prompt, prompt=prompt, model=model),
        **_given(settings=dict(settings or {})),
    }
    text = manifest_text(
        {
            "id": name,
            "name": title or name.rpartition("/")[2].replace("-", " ").replace("_", " ").title(),
            **_given(description=description, author=author, license=license, category=category),
            **_given(tags=list(tags)),
            **({"showcases": [{"preview": shown, "inputs": inputs}]} if shown else {}),
            "inputs": {
                "image": {"type": "image", "role": "start_frame", "required": True, "hint": hint}
            },
            # What openeffect shows a model that reads no reference.
            "generation": {"prompt": prompt or description},
            "video_as_prompt": section,
        }
    )
    parse_manifest(text, "The effect")
    place = Path(folder)
    with atomic_folder(place, lambda _: False) as fresh:
        (fresh / MANIFEST).write_text(text, encoding="utf-8")
        for role, path in sources.items():
            shutil.copyfile(path, fresh / placed[role])
    return read_effect(place)


def _check(sources: Mapping[str, Path]) -> None:
    """Read what can be read, before anything is written."""
    for role, path in sources.items():
        if not path.is_file():
            raise FileNotFoundError(f"There is no {role.replace('_', ' ')} at {path}.")
        if role in ("reference", "preview"):
            probe_clip(path)
        elif role == "image":
            read_image(path)
        else:
            from vap.pipelines.video_prompt import VideoPrompt

            VideoPrompt.load(path)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}
