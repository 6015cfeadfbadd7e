"""A benchmark from openeffect packs: each effect on its own image and on those of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vap.effects.effect import SUBJECT, Effect, read_effect
from vap.effects.manifest import MANIFEST
from vap.evaluation.benchmarks.base import Benchmark, selected
from vap.evaluation.benchmarks.table import file_name
from vap.evaluation.case import Case


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


def _read(folder: Path) -> tuple[str, Effect]:
    """The name of a pack, and the pack."""
    effect = read_effect(folder)
    if effect.image is None or effect.reference is None:
        lacking = "reference video" if effect.reference is None else "image among showcases"
        raise ValueError(f"{folder / MANIFEST} names no {lacking}, which cases need. Complete it.")
    return file_name(folder.resolve().name), effect


def _case(pack: tuple[str, Effect], other: tuple[str, Effect]) -> Case:
    (name, effect), (image_name, image_effect) = pack, other
    assert effect.reference is not None
    assert image_effect.image is not None
    own = pack is other
    return Case(
        name=name if own else f"{name}-on-{image_name}",
        condition=name,
        image=image_effect.image,
        reference=effect.reference,
        prompt=" ".join(effect.prompt.replace(SUBJECT, "").split()),
        reference_prompt=effect.reference_prompt,
        group="own image" if own else "other image",
    )
