"""The manifest of an effect: an openeffect pack with a section of our own.

openeffect (https://pypi.org/project/openeffect) describes an effect as a folder with a
``manifest.yaml``. Its packs are read as they are: the first showcase is the reference. An effect
made here says more in the section ``video_as_prompt``, which other readers ignore.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from vap.files.yaml_text import LARGEST, parse_yaml

MANIFEST = "manifest.yaml"

_Text = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
# A name that is a file name everywhere: it becomes a folder.
_Id = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9_.-]*/)?[a-z0-9][a-z0-9_-]*$", max_length=100)
]


class EffectSettings(BaseModel):
    """Settings that suit an effect; None leaves the choice to the model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_inference_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=1000)] | None = None
    reference_guidance_scale: Annotated[float, Field(ge=0, le=1000)] | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None

    def given(self) -> dict[str, Any]:
        """Return the settings that are not None."""
        return self.model_dump(exclude_none=True)


class OurSection(BaseModel):
    """The section of a manifest for Video-As-Prompt.

    Attributes:
        reference: The reference video; empty for the preview of the first showcase.
        video_prompt: The encoded reference in its place, which fits one model alone.
        reference_prompt: Caption of the reference.
        prompt: Caption of the result, with ``{subject}`` where the caption of the image goes.
        model: The model that the video prompt or the settings are for.
        settings: Settings that suit the effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str = ""
    video_prompt: str = ""
    reference_prompt: str = ""
    prompt: str = ""
    model: str = ""
    settings: EffectSettings = EffectSettings()


class Showcase(BaseModel):
    """A result of the effect, and what it was made of."""

    preview: _Text
    inputs: dict[str, _Text] = {}


class _Input(BaseModel):
    hint: str = ""


class _Generation(BaseModel):
    prompt: str = ""


class Manifest(BaseModel):
    """What is read of a manifest; further keys of openeffect are for other programs.

    Attributes:
        id: ``name`` or ``author/name``, in small letters.
        name: Its title.
        description: What happens.
        author: Who made it.
        license: Under which license it may be used.
        category: Such as ``concept``, ``style``, ``motion`` or ``camera``.
        tags: Words to find it by.
        showcases: Results and their inputs.
        inputs: What a user gives; a hint says which subjects suit.
        generation: The prompt for models that read no reference.
        video_as_prompt: The section of our own.
    """

    model_config = ConfigDict(frozen=True)

    id: _Id
    name: _Text
    description: str = ""
    author: str = ""
    license: str = ""
    category: str = ""
    tags: list[str] = []
    showcases: list[Showcase] = []
    inputs: dict[str, _Input] = {}
    generation: _Generation = _Generation()
    video_as_prompt: OurSection = OurSection()


def parse_manifest(text: str, source: str) -> Manifest:
    """Parse a manifest.

    Raises:
        ValueError: If it is not one; the message names the source and the key.
    """
    try:
        return Manifest.model_validate(parse_yaml(text))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise ValueError(f"{source}: {where}: {first['msg']}. Correct it.") from error
    except ValueError as error:
        raise ValueError(f"{source} cannot be read: {error}. Correct it.") from error


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest in a folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {MANIFEST}. Give the folder of an effect.")
    if path.stat().st_size > 4 * LARGEST:
        raise ValueError(
            f"{path} is larger than {4 * LARGEST:,} bytes. Give the manifest of an effect."
        )
    try:
        return parse_manifest(path.read_text(encoding="utf-8"), str(path))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error


def manifest_text(values: Mapping[str, Any]) -> str:
    """Write a manifest in the order of its keys."""
    return yaml.safe_dump({"manifest_version": 1, **values}, sort_keys=False, allow_unicode=True)
