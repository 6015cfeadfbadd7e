"""The VAP-Synth benchmark: pairs of unseen subjects, balanced over the conditions of each split."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from vap.evaluation.benchmarks.base import Benchmark, digest
from vap.evaluation.case import Case
from vap.files.atomic import atomic_file
from vap.files.json_files import write_json
from vap.files.names import did_you_mean
from vap.media import write_video
from vap.shapes import PixelShape
from vap.synth import CONDITIONS, Split, SynthPair, conditions_of, sample_pair
from vap.synth.fields import generator

SEED = 2026
"""Of the pairs, by default."""
CASES = 24
"""How many, by default."""

SPLITS: tuple[Split, ...] = ("seen", "heldout", "unknown")
"""What the expert trained on, what only the backbone did, what nothing did."""

SHAPE = PixelShape(frames=17, height=64, width=96)
"""Size by default: that of the bundled model."""

FPS = 8.0
"""Rate by default: that of the bundled model."""


@dataclass(frozen=True, slots=True)
class CaseSpec:
    """A case before it is rendered.

    Attributes:
        split: Who trained on its condition.
        index: Its place in the split; also the seed of the generated video's noise.
        condition: What its reference and target show.
    """

    split: Split
    index: int
    condition: str

    @property
    def name(self) -> str:
        """Short and unique: ``seen-007``."""
        return f"{self.split}-{self.index:03d}"


def render_benchmark(
    folder: Path,
    cases: int | None = None,
    *,
    conditions: Sequence[str] = (),
    seed: int = SEED,
    drawn: bool = False,
    shape: PixelShape = SHAPE,
    fps: float = FPS,
    progress: Callable[[int, int], None] | None = None,
) -> Benchmark:
    """Render cases into a folder, those that are not there yet.

    Args:
        folder: A folder of lossless frames for each reference and truth is written here.
        cases: In all, shared out over the splits; 24 by default.
        conditions: Only these; all by default.
        seed: Of the pairs.
        drawn: Use the drawn world: no photographs, no noise-like textures.
        shape: Of the clips.
        fps: Frames a second of the clips.
        progress: Told how many cases are there, of how many.
    """
    specs = choose_cases(CASES if cases is None else cases, seed=seed, conditions=conditions)
    # Another seed, world or size has files of its own: what is there is never another case.
    world = ["drawn"] if drawn else []
    place = folder / digest([seed, shape.frames, shape.height, shape.width, fps, *world])
    found = []
    for done, spec in enumerate(specs, start=1):
        found.append(_case(place / spec.name, spec, shape, fps, seed, drawn=drawn))
        if progress is not None:
            progress(done, len(specs))
    return Benchmark("synth-drawn" if drawn else "synth", tuple(found), exact=True)


def check_conditions(names: Iterable[str]) -> None:
    """Refuse names of which there is no condition."""
    for name in names:
        if name not in CONDITIONS:
            raise ValueError(
                f"There is no condition {name!r}.{did_you_mean(name, CONDITIONS)} "
                "`vap data synth --list` shows all."
            )


def choose_cases(count: int, *, seed: int, conditions: Sequence[str] = ()) -> tuple[CaseSpec, ...]:
    """Share cases out evenly over the splits, and in each over its conditions.

    The first splits get a case first, so fewer cases than splits leave the last ones out.
    """
    if count < 1:
        raise ValueError(f"cases={count}; at least one case is needed.")
    check_conditions(conditions)
    orders = {split: _order(split, seed, conditions) for split in SPLITS}
    splits = [split for split, order in orders.items() if order]
    specs = []
    for number in range(count):
        index, split = number // len(splits), splits[number % len(splits)]
        specs.append(CaseSpec(split, index, orders[split][index % len(orders[split])]))
    return tuple(specs)


def render_pair(spec: CaseSpec, shape: PixelShape, seed: int, *, drawn: bool = False) -> SynthPair:
    """Render a case; equal arguments give equal pixels."""
    return sample_pair(
        seed,
        spec.index,
        split=spec.split,
        height=shape.height,
        width=shape.width,
        frames=shape.frames,
        effect_in_caption=1.0,  # the scene's caption, which does not tell it, is there as well
        conditions=(spec.condition,),
        drawn=float(drawn),
    )


def _case(
    folder: Path, spec: CaseSpec, shape: PixelShape, fps: float, seed: int, *, drawn: bool
) -> Case:
    """A case whose media are in a folder."""
    reference, truth, image = (folder / name for name in ("reference", "truth", "image.png"))
    captions = folder / "captions.json"
    if not captions.is_file():
        pair = render_pair(spec, shape, seed, drawn=drawn)
        write_video(pair.reference.frames, reference, fps)
        write_video(pair.target.frames, truth, fps)
        with atomic_file(image) as temporary:
            Image.fromarray(pair.target.frames[0]).save(temporary, format="PNG")
        # Last: a folder with captions is complete.
        write_json(captions, _captions(pair))
    return Case(
        name=spec.name,
        condition=spec.condition,
        image=image,
        reference=reference,
        truth=truth,
        group=spec.split,
        seed=spec.index,
        **json.loads(captions.read_text(encoding="utf-8")),
    )


def _captions(pair: SynthPair) -> dict[str, str]:
    return {
        "prompt": pair.target.caption,
        "scene_prompt": pair.target.scene_caption,
        "reference_prompt": pair.reference.caption,
        "reference_scene_prompt": pair.reference.scene_caption,
    }


def _order(split: Split, seed: int, wanted: Sequence[str]) -> list[str]:
    """The split's conditions in a random order, so that few cases are not all of one category."""
    names = [name for name in conditions_of(split) if not wanted or name in wanted]
    order: list[str] = generator(seed, SPLITS.index(split), 61).permutation(names).tolist()
    return order
