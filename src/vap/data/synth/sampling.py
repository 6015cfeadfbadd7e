"""Pairs of a reference and a target that share a condition and its parameters, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vap.data.synth.composition import Composition, compose
from vap.data.synth.fields import generator
from vap.data.synth.registry import CONDITIONS
from vap.data.synth.schema import Value

Split = Literal["train", "seen", "heldout", "unknown", "backbone"]
# The place of a split here is part of every seed: append only.
SPLITS: tuple[Split, ...] = ("train", "seen", "heldout", "unknown", "backbone")


@dataclass(frozen=True)
class SynthClip:
    """A rendered clip.

    Attributes:
        frames: ``uint8`` RGB ``[T, H, W, 3]``; the first is the untouched picture.
        caption: The scene, and in some samples the effect, in words.
        scene_caption: The scene in words.
        condition: Name of the condition.
        parameters: The condition's parameters, timing included.
        composition: What the scene shows.
    """

    frames: NDArray[np.uint8]
    caption: str
    scene_caption: str
    condition: str
    parameters: Mapping[str, Value]
    composition: Composition


@dataclass(frozen=True)
class SynthPair:
    """A reference and the true target: same condition and parameters, different scenes."""

    reference: SynthClip
    target: SynthClip


@dataclass(frozen=True)
class ClipSpec:
    """All there is to say about a clip before it has a size."""

    condition: str
    parameters: Mapping[str, Value]
    composition: Composition
    tells_effect: bool

    @property
    def caption(self) -> str:
        """The scene, and the effect if this clip tells it."""
        if not self.tells_effect:
            return self.composition.caption
        return f"{self.composition.caption}; it {CONDITIONS[self.condition].phrase}"

    def render(self, height: int, width: int, frames: int) -> SynthClip:
        """Draw the clip at a size."""
        condition = CONDITIONS[self.condition]
        scene = self.composition.render(height, width)
        drawn = [scene.image] + [
            condition.frame(scene, number / (frames - 1), self.parameters)
            for number in range(1, frames)
        ]
        pixels = np.clip(np.stack(drawn) * 255 + 0.5, 0, 255).astype(np.uint8)
        return SynthClip(
            frames=pixels,
            caption=self.caption,
            scene_caption=self.composition.caption,
            condition=self.condition,
            parameters=self.parameters,
            composition=self.composition,
        )


def conditions_of(split: Split) -> tuple[str, ...]:
    """Names of the conditions that a split draws from.

    Raises:
        ValueError: If there is no such split.
    """
    exposures = {
        "train": ("train",),
        "seen": ("train",),
        "heldout": ("heldout",),
        "unknown": ("unknown",),
        "backbone": ("train", "heldout"),
    }
    if split not in exposures:
        message = f"split={split!r} does not exist; use one of {', '.join(SPLITS)}."
        raise ValueError(message)
    return tuple(name for name, c in CONDITIONS.items() if c.exposure in exposures[split])


def pair_spec(
    seed: int,
    index: int,
    *,
    split: Split = "train",
    effect_in_caption: float = 0.1,
    conditions: Sequence[str] | None = None,
) -> tuple[ClipSpec, ClipSpec]:
    """Draw what a pair shows: its reference and its target.

    Args:
        seed: Of the whole set, ≥ 0.
        index: Of the pair in the set, ≥ 0; equal arguments give equal pairs.
        split: Which conditions and scenes to draw from.
        effect_in_caption: Share of the pairs whose captions tell the effect.
        conditions: Draw only from these; they must belong to the split.

    Raises:
        ValueError: If a condition does not belong to the split.
    """
    allowed = conditions_of(split)
    if conditions is not None:
        strangers = sorted(set(conditions) - set(allowed))
        if strangers or not conditions:
            message = f"conditions={strangers} are not in split {split!r}; choose from {allowed}."
            raise ValueError(message)
        allowed = tuple(conditions)
    rng = generator(seed, index, SPLITS.index(split))
    condition = CONDITIONS[allowed[int(rng.integers(len(allowed)))]]
    tells = bool(rng.random() < effect_in_caption)
    parameters = MappingProxyType(condition.draw(rng))
    unseen = split not in {"train", "backbone"}
    reference = compose(rng, unseen=unseen)
    target = compose(rng, unseen=unseen)
    while target.subject == reference.subject:
        target = compose(rng, unseen=unseen)
    return (
        ClipSpec(condition.name, parameters, reference, tells),
        ClipSpec(condition.name, parameters, target, tells),
    )


def sample_pair(
    seed: int,
    index: int,
    *,
    split: Split = "train",
    height: int = 64,
    width: int = 96,
    frames: int = 17,
    effect_in_caption: float = 0.1,
    conditions: Sequence[str] | None = None,
) -> SynthPair:
    """Draw and render a pair; see :func:`pair_spec` for the choices.

    Args:
        seed: Of the whole set, ≥ 0.
        index: Of the pair in the set, ≥ 0.
        split: Which conditions and scenes to draw from.
        height: In pixels.
        width: In pixels.
        frames: Frames of each clip, ≥ 2.
        effect_in_caption: Share of the pairs whose captions tell the effect.
        conditions: Draw only from these.
    """
    reference, target = pair_spec(
        seed, index, split=split, effect_in_caption=effect_in_caption, conditions=conditions
    )
    return SynthPair(reference.render(height, width, frames), target.render(height, width, frames))


def sample_clip(
    seed: int,
    index: int,
    *,
    split: Split = "train",
    height: int = 64,
    width: int = 96,
    frames: int = 17,
    effect_in_caption: float = 0.1,
    conditions: Sequence[str] | None = None,
) -> SynthClip:
    """The target of :func:`sample_pair`, without rendering its reference."""
    _, target = pair_spec(
        seed, index, split=split, effect_in_caption=effect_in_caption, conditions=conditions
    )
    return target.render(height, width, frames)
