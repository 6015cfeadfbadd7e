"""Pairs of a reference and a target that share a condition and its parameters, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict, Unpack, get_args

from vap.data.rows import SynthSplit
from vap.synth.clip_spec import ClipSpec, SynthClip
from vap.synth.composition import compose
from vap.synth.condition import Exposure
from vap.synth.fields import generator
from vap.synth.registry import CONDITIONS
from vap.synth.variations import draw_variation

Split: TypeAlias = SynthSplit
SPLITS: tuple[Split, ...] = get_args(Split)

# Which conditions each split draws from, and whether its subjects are ones training never sees.
_EXPOSURES: Mapping[Split, frozenset[Exposure]] = {
    "train": frozenset({"train"}),
    "seen": frozenset({"train"}),
    "heldout": frozenset({"heldout"}),
    "unknown": frozenset({"unknown"}),
    "backbone": frozenset({"train", "heldout"}),
}
_DRAWN = 83  # tells the generator of this choice from those of others
_UNSEEN_SUBJECTS: frozenset[Split] = frozenset({"seen", "heldout", "unknown"})


@dataclass(frozen=True)
class SynthPair:
    """A reference and the true target: same condition and parameters, different scenes."""

    reference: SynthClip
    target: SynthClip


def conditions_of(split: Split) -> tuple[str, ...]:
    """Names of the conditions that a split draws from."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown; use one of {', '.join(SPLITS)}.")
    return tuple(name for name, c in CONDITIONS.items() if c.exposure in _EXPOSURES[split])


def pair_spec(
    seed: int,
    index: int,
    *,
    split: Split = "train",
    effect_in_caption: float = 0.1,
    conditions: Sequence[str] | None = None,
    varied: float = 0.0,
    mixed: float = 0.0,
    drawn: float = 0.0,
) -> tuple[ClipSpec, ClipSpec]:
    """Draw what a pair shows: its reference and its target.

    Args:
        seed: Of the whole set, ≥ 0.
        index: Of the pair in the set, ≥ 0; equal arguments give equal pairs.
        split: Which conditions and scenes to draw from.
        effect_in_caption: Share of the pairs whose captions tell the effect, 0 to 1.
        conditions: Draw only from these; they must belong to the split.
        varied: Share of the pairs that show a variation of their condition, 0 to 1; a second
            condition is one of the same that the first is drawn from.
        mixed: Share of the variations that also lie sideways or stand beside another condition in
            a part of the picture or of the time, 0 to 1.
        drawn: Share of the pairs without photographs and noise-like textures, 0 to 1; the others
            are what they are without it.
    """
    shares = (effect_in_caption, varied, mixed, drawn)
    if seed < 0 or index < 0 or not all(0 <= share <= 1 for share in shares):
        raise ValueError(
            f"seed={seed}, index={index}, effect_in_caption={effect_in_caption}, varied={varied}, "
            f"mixed={mixed}, drawn={drawn}: use a seed and an index of at least 0, and shares "
            "from 0 to 1."
        )
    allowed = _allowed(split, conditions)
    rng = generator(seed, index, SPLITS.index(split))
    condition = CONDITIONS[allowed[int(rng.integers(len(allowed)))]]
    tells = bool(rng.random() < effect_in_caption)
    parameters = condition.draw(rng)
    unseen = split in _UNSEEN_SUBJECTS
    # From a generator of its own: a pair that is not chosen stays what it is.
    is_drawn = bool(generator(seed, index, SPLITS.index(split), _DRAWN).random() < drawn)
    reference = compose(rng, unseen=unseen, drawn=is_drawn)
    target = compose(rng, unseen=unseen, drawn=is_drawn)
    while target.subject == reference.subject or target.background == reference.background:
        target = compose(rng, unseen=unseen, drawn=is_drawn)
    # Drawn last: whatever the share, the rest of a pair stays what it is.
    is_varied = bool(rng.random() < varied)
    variation = draw_variation(rng, condition.name, allowed, mixed=mixed) if is_varied else None
    return (
        ClipSpec(condition.name, parameters, reference, tells, variation),
        ClipSpec(condition.name, parameters, target, tells, variation),
    )


def _allowed(split: Split, conditions: Sequence[str] | None) -> tuple[str, ...]:
    """The conditions to draw from; see :func:`pair_spec`."""
    allowed = conditions_of(split)
    if conditions is None:
        return allowed
    strangers = sorted(set(conditions) - set(allowed))
    if strangers or not conditions:
        raise ValueError(
            f"conditions={list(conditions)}: {strangers or 'an empty list'} cannot be drawn in "
            f"split {split!r}. Choose from: {', '.join(allowed)}."
        )
    return tuple(conditions)


class PairChoices(TypedDict, total=False):
    """Arguments of :func:`pair_spec` besides seed and index."""

    split: Split
    effect_in_caption: float
    conditions: Sequence[str] | None
    varied: float
    mixed: float
    drawn: float


def sample_pair(
    seed: int,
    index: int,
    *,
    height: int = 64,
    width: int = 96,
    frames: int = 17,
    **choices: Unpack[PairChoices],
) -> SynthPair:
    """Draw and render a pair.

    Args:
        seed: Of the whole set, ≥ 0.
        index: Of the pair in the set, ≥ 0.
        height: In pixels, ≥ 16.
        width: In pixels, ≥ 16.
        frames: Frames of each clip, ≥ 2.
        **choices: What is drawn, see :func:`pair_spec`.
    """
    reference, target = pair_spec(seed, index, **choices)
    return SynthPair(reference.render(height, width, frames), target.render(height, width, frames))


def sample_clip(
    seed: int,
    index: int,
    *,
    height: int = 64,
    width: int = 96,
    frames: int = 17,
    **choices: Unpack[PairChoices],
) -> SynthClip:
    """The target of :func:`sample_pair`, without rendering its reference."""
    _, target = pair_spec(seed, index, **choices)
    return target.render(height, width, frames)
