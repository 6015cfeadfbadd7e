"""Captions for clips: from files beside them, or from their names. For a model's, see ``vlm``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Protocol

from vap.data.clip_files import InspectedClip
from vap.files.atomic import atomic_file
from vap.media import MediaError

_FIELDS = frozenset({"condition", "name"})


class Captioner(Protocol):
    """Writes the caption of a clip."""

    def caption(self, clip: InspectedClip) -> str:
        """Describe scene, subject and effect."""
        ...


@dataclass(frozen=True, slots=True)
class SidecarCaptioner:
    """Reads the caption of ``clip.mp4`` from ``clip.txt`` in the same folder."""

    def caption(self, clip: InspectedClip) -> str:
        """The text of the file, on one line."""
        text = " ".join(read_sidecar(clip.path, ".txt", "its caption").split())
        if not text:
            raise ValueError(f"the caption {clip.path.with_suffix('.txt').name} is empty")
        return text


@dataclass(frozen=True, slots=True)
class RememberingCaptioner:
    """Keeps another captioner's captions as sidecars, so that no clip is captioned twice.

    A clip with a ``.txt`` is not captioned again: captions may be corrected by hand, and an
    interrupted build continues where it stopped.
    """

    captioner: Captioner

    def caption(self, clip: InspectedClip) -> str:
        """The sidecar's text, else a new caption, written beside the clip."""
        sidecar = clip.path.with_suffix(".txt")
        if sidecar.exists():
            return SidecarCaptioner().caption(clip)
        caption = self.captioner.caption(clip)
        try:
            with atomic_file(sidecar) as partial:
                partial.write_text(caption + "\n", encoding="utf-8")
        except MediaError as error:
            raise OSError(
                f"Captions cannot be kept beside the clips: {error} Or do not keep them (leave out "
                "--keep-captions)."
            ) from error
        return caption


@dataclass(frozen=True, slots=True)
class TemplateCaptioner:
    """Makes captions of names: ``melt/red_car.mp4`` becomes, for example, "red car, melt"."""

    template: str = "{name}, {condition}"  # "_" and "-" of names become spaces

    def __post_init__(self) -> None:
        try:
            fields = {field for _, field, _, _ in Formatter().parse(self.template) if field}
            self.template.format(**dict.fromkeys(_FIELDS, ""))
        except (ValueError, LookupError, AttributeError) as error:
            raise self._refusal() from error
        if not fields <= _FIELDS:
            raise self._refusal()

    def caption(self, clip: InspectedClip) -> str:
        """The template with the clip's names in it."""
        return self.template.format(name=_words(clip.path.stem), condition=_words(clip.condition))

    def _refusal(self) -> ValueError:
        return ValueError(
            f"The caption template {self.template!r} is not usable: it may contain {{name}} and "
            "{condition} and no other fields. Write {{ and }} for braces."
        )


def read_sidecar(path: Path, suffix: str, what: str) -> str:
    """Text of the file beside a clip with the same name and another suffix."""
    sidecar = path.with_suffix(suffix)
    try:
        return sidecar.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ValueError(f"the file {sidecar.name} with {what} is missing beside it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file {sidecar.name} with {what} cannot be read: {error}") from error


def _words(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split())
