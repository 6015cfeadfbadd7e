"""An effect, ready to use: files that are there, captions, settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vap.effects.manifest import MANIFEST, EffectSettings, Manifest, read_manifest

SUBJECT = "{subject}"
"""Where the caption of the image goes in the prompt of an effect."""


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect in a folder.

    Attributes:
        id: ``name`` or ``author/name``.
        title: Its name for people.
        folder: Where its files are.
        reference: The reference video, unless there is a video prompt.
        video_prompt: The encoded reference.
        preview: What to show of it: a result, or the reference.
        image: An image that it was tried on.
        prompt: Caption of a result; :data:`SUBJECT` stands for the caption of the image.
        reference_prompt: Caption of the reference.
        settings: Settings that suit it.
        model: The model that it is for; empty for any.
        description: What happens.
        category: Such as ``concept``, ``style``, ``motion`` or ``camera``.
        author: Who made it.
        license: Under which license it may be used.
        hint: Which subjects suit.
        tags: Words to find it by.
    """

    id: str
    title: str
    folder: Path
    reference: Path | None
    video_prompt: Path | None
    preview: Path | None
    image: Path | None
    prompt: str = ""
    reference_prompt: str = ""
    settings: EffectSettings = field(default_factory=EffectSettings)
    model: str = ""
    description: str = ""
    category: str = ""
    author: str = ""
    license: str = ""
    hint: str = ""
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the id, which is what one types."""
        return self.id.rpartition("/")[2]

    def request(self, subject: str = "") -> dict[str, Any]:
        """Return the fields of a generation request that the effect decides.

        Args:
            subject: Caption of the image; the prompt is left out if it needs one and has none.
        """
        fields: dict[str, Any] = self.settings.given()
        if self.video_prompt is not None:
            fields["video_prompt"] = self.video_prompt
        else:
            fields["references"] = (self.reference,)
            fields["reference_prompts"] = (self.reference_prompt,)
        if subject or SUBJECT not in self.prompt:
            fields["prompt"] = self.prompt.replace(SUBJECT, subject) if self.prompt else subject
        if self.model:
            fields["model"] = self.model
        return fields

    def applied_to(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a request that uses the effect; what is given wins.

        Raises:
            ValueError: If references are given, which an effect brings itself.
        """
        if given.keys() & {"references", "video_prompt"}:
            raise ValueError(
                f"The effect {self.id!r} brings its own reference. Give either an effect, or "
                "reference videos, or a video prompt."
            )
        return {**self.request(), **given, "effect": self.id}

    def as_json(self) -> dict[str, Any]:
        """Return what a listing shows, in JSON values."""
        texts = ("id", "title", "description", "category", "author", "license", "hint", "model")
        return {
            **{name: getattr(self, name) for name in texts},
            "name": self.name,
            "tags": list(self.tags),
            "prompt": self.prompt,
            "reference_prompt": self.reference_prompt,
            "settings": self.settings.given(),
            "encoded": self.video_prompt is not None,
            "folder": str(self.folder),
        }


def read_effect(folder: str | Path) -> Effect:
    """Read an effect, or an openeffect pack, from its folder.

    Raises:
        FileNotFoundError: If there is no manifest, or a file that it names is missing.
        ValueError: If the manifest cannot be read, or names no reference.
    """
    place = Path(folder)
    manifest = read_manifest(place)
    ours = manifest.video_as_prompt
    shown = manifest.showcases[0] if manifest.showcases else None
    preview = None if shown is None else _file(place, shown.preview)
    video_prompt = _file(place, ours.video_prompt) if ours.video_prompt else None
    reference = _file(place, ours.reference) if ours.reference else preview
    if video_prompt is None and reference is None:
        raise ValueError(
            f"{place / MANIFEST} names no reference. Give video_as_prompt.reference or a showcase."
        )
    prompt = " ".join((ours.prompt or manifest.generation.prompt).split())
    return Effect(
        id=manifest.id,
        title=manifest.name,
        folder=place,
        reference=None if video_prompt else reference,
        video_prompt=video_prompt,
        preview=preview or reference,
        image=_image(place, manifest),
        prompt=prompt,
        reference_prompt=" ".join((ours.reference_prompt or prompt.replace(SUBJECT, "")).split()),
        settings=ours.settings,
        model=ours.model,
        description=" ".join(manifest.description.split()),
        category=manifest.category,
        author=manifest.author,
        license=manifest.license,
        hint=next((each.hint for each in manifest.inputs.values() if each.hint), ""),
        tags=tuple(manifest.tags),
    )


def _image(folder: Path, manifest: Manifest) -> Path | None:
    inputs = manifest.showcases[0].inputs if manifest.showcases else {}
    name = inputs.get("image") or next(iter(inputs.values()), "")
    return _file(folder, name) if name else None


def _file(folder: Path, name: str) -> Path:
    """A file of an effect, which may not lead out of its folder."""
    place = folder / name
    if "\0" in name or not place.resolve().is_relative_to(folder.resolve()):
        raise ValueError(
            f"{folder / MANIFEST}: {name!r} is not a file inside the effect. Correct it."
        )
    if not place.is_file():
        raise FileNotFoundError(
            f"{folder / MANIFEST} names {name!r}, which is missing. Add this file to the effect."
        )
    return place
