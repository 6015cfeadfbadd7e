"""A benchmark from openeffect packs: each effect on its own image and on those of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from vap.evaluation.benchmarks.base import Benchmark, selected
from vap.evaluation.benchmarks.table import file_name
from vap.evaluation.case import Case
from vap.files.yaml_text import LARGEST, parse_yaml

MANIFEST = "manifest.yaml"
_Text = Annotated[str, Field(min_length=1)]


class _Showcase(BaseModel):
    """A result of the effect, and the image that it was made of."""

    preview: _Text
    inputs: dict[str, _Text]


class _Generation(BaseModel):
    prompt: str = ""


class Manifest(BaseModel):
    """What is read of a manifest; other keys are for others."""

    id: _Text
    showcases: Annotated[list[_Showcase], Field(min_length=1)]
    generation: _Generation = _Generation()
    category: str = ""


@dataclass(frozen=True, slots=True)
class _Pack:
    """An effect with its first showcase."""

    name: str
    reference: Path
    image: Path
    prompt: str


def read_packs(
    folder: Path, *, cases: int | None = None, conditions: Sequence[str] = ()
) -> Benchmark:
    """Read a pack, or all packs in a folder.

    The reference is the preview of a pack's first showcase. Cases of the group ``own image``
    animate the image that the preview was made of, those of ``other image`` that of another pack.

    Raises:
        FileNotFoundError: If there is no pack, or one of its files is missing.
        ValueError: If a manifest cannot be read; the message names file and key.
    """
    places = [folder] if (folder / MANIFEST).is_file() else sorted(folder.iterdir())
    packs = [_read(place) for place in places if (place / MANIFEST).is_file()]
    if not packs:
        raise FileNotFoundError(
            f"{folder} has no effect packs. Give a folder with {MANIFEST}, or a folder of such "
            "folders."
        )
    shown = [(pack, image) for pack in packs for image in packs]
    # Own images first, so that few cases are of all effects.
    shown.sort(key=lambda pair: pair[0] is not pair[1])
    found = [_case(pack, image) for pack, image in shown]
    return Benchmark(folder.resolve().name, selected(found, cases, conditions, str(folder)))


def parse_manifest(text: str, source: str) -> Manifest:
    """Parse a manifest; errors name the source and the key."""
    try:
        return Manifest.model_validate(parse_yaml(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "manifest"
        raise ValueError(f"{source}: {where}: {first['msg']}. Correct it.") from error
    except ValueError as error:
        raise ValueError(f"{source} is not YAML ({error}). Correct it.") from error


def _read(folder: Path) -> _Pack:
    path = folder / MANIFEST
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    manifest = parse_manifest(text, str(path))
    shown = manifest.showcases[0]
    image = shown.inputs.get("image") or next(iter(shown.inputs.values()), "")
    return _Pack(
        file_name(folder.resolve().name),
        _asset(folder, shown.preview, path),
        _asset(folder, image, path),
        " ".join(manifest.generation.prompt.split()),
    )


def _asset(folder: Path, name: str, manifest: Path) -> Path:
    """A file of a pack; it may not lead out of the folder."""
    place = folder / name
    if not name or not place.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{manifest}: {name!r} is no file inside the pack. Correct the manifest.")
    if not place.is_file():
        raise FileNotFoundError(f"{manifest}: there is no file {place}. Complete the pack.")
    return place


def _case(pack: _Pack, image: _Pack) -> Case:
    own = pack is image
    return Case(
        name=pack.name if own else f"{pack.name}-on-{image.name}",
        condition=pack.name,
        image=image.image,
        reference=pack.reference,
        prompt=pack.prompt,
        reference_prompt=pack.prompt,
        group="own image" if own else "other image",
    )
