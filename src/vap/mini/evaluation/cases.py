"""The cases: pairs of unseen subjects, balanced over the conditions of each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vap.shapes import PixelShape
from vap.synth import CONDITIONS, Split, SynthPair, conditions_of, sample_pair
from vap.synth.fields import generator

CASES, SEED = 240, 2026
"""What is evaluated by default: in each split every condition equally often."""

SPLITS: tuple[Split, ...] = ("seen", "heldout", "unknown")
"""What the expert trained on, what only the backbone did, what nothing did."""


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


@dataclass(frozen=True, eq=False, slots=True)
class Case:
    """A rendered case.

    Attributes:
        spec: Which one.
        pair: Reference and true target; the target's first frame is the image to animate.
    """

    spec: CaseSpec
    pair: SynthPair

    @property
    def image(self) -> NDArray[np.uint8]:
        """The image to animate ``[H, W, 3]``."""
        return self.pair.target.frames[0]

    @property
    def truth(self) -> NDArray[np.float64]:
        """What should come of it ``[T, H, W, 3]`` in 0 to 1."""
        return self.pair.target.frames / np.float64(255)


def check_conditions(names: Sequence[str]) -> None:
    """Refuse names of which there is no condition."""
    strangers = sorted(set(names) - set(CONDITIONS))
    if strangers:
        raise ValueError(
            f"No such conditions: {', '.join(strangers)}. See `vap data synth --list`."
        )


def choose_cases(count: int, *, seed: int, conditions: Sequence[str] = ()) -> tuple[CaseSpec, ...]:
    """Share cases out evenly over the splits, and in each over its conditions."""
    check_conditions(conditions)
    orders = {split: _order(split, seed, conditions) for split in SPLITS}
    splits = [split for split, order in orders.items() if order]
    if count < len(splits):
        raise ValueError(f"cases={count} leaves splits empty; use at least {len(splits)}.")
    specs = []
    for number in range(count):
        index, split = number // len(splits), splits[number % len(splits)]
        specs.append(CaseSpec(split, index, orders[split][index % len(orders[split])]))
    return tuple(specs)


def render_case(spec: CaseSpec, shape: PixelShape, seed: int) -> Case:
    """Render a case; equal arguments give equal pixels."""
    pair = sample_pair(
        seed,
        spec.index,
        split=spec.split,
        height=shape.height,
        width=shape.width,
        frames=shape.frames,
        effect_in_caption=1.0,  # the scene's caption, which does not tell it, is there as well
        conditions=(spec.condition,),
    )
    return Case(spec, pair)


def _order(split: Split, seed: int, wanted: Sequence[str]) -> list[str]:
    """The split's conditions in a random order, so that few cases are not all of one category."""
    names = [name for name in conditions_of(split) if not wanted or name in wanted]
    order: list[str] = generator(seed, SPLITS.index(split), 61).permutation(names).tolist()
    return order
