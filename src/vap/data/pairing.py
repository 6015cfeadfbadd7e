"""Choose the references that a target is trained with: the release's rules, seeded.

A row is *alive* when its split is trained on, ``_valid`` is not ≤ 0 and its score is above the
threshold. Its references are the listed ones that are alive, else one random alive clip of its
condition, else the row is dropped. Each epoch draws from them; drops and empty captions are random.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from vap.data.row_selection import SelectionRules, select_rows
from vap.data.rows import TRAIN, ClipRow

COGVIDEOX_THRESHOLD, WAN_THRESHOLD = 5.0, 10.0


@dataclass(frozen=True, slots=True)
class PairingRules:
    """How targets and references are put together."""

    # Rows with a score above this are alive: 5 for CogVideoX, 10 for Wan.
    threshold: float = COGVIDEOX_THRESHOLD
    splits: frozenset[str] | None = frozenset({TRAIN})  # those that are alive; None keeps all
    references: int = 1  # drawn for a sample at most (the paper trains with up to 3)
    # Probability of dropping each reference after the first (paper: 0.3).
    reference_drop: float = 0.0
    # Probability of emptying all captions of a sample (release: 0.02 to 0.1).
    caption_drop: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.references < 1:
            raise ValueError(f"references={self.references}: a sample needs at least 1 reference.")
        for name in ("reference_drop", "caption_drop"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise ValueError(f"{name}={value} is not a probability: give a number from 0 to 1.")


@dataclass(frozen=True, slots=True)
class Sample:
    """A target with the references it is shown, and the captions of all as the model gets them."""

    target: ClipRow
    references: tuple[ClipRow, ...]  # R, at least one
    caption: str  # of the target, or ""
    reference_captions: tuple[str, ...]  # R, all "" if the caption is


@dataclass(frozen=True, slots=True)
class Pairing:
    """Alive targets with the references each may be shown."""

    targets: tuple[ClipRow, ...]  # the alive rows that have a reference
    candidates: tuple[tuple[ClipRow, ...], ...]  # of each target: its alive references
    gone: dict[str, int]  # how many rows went for which reason
    borrowed: int  # targets whose reference is a random clip of their condition
    rules: PairingRules

    def __len__(self) -> int:
        return len(self.targets)

    def draw(self, index: int, epoch: int = 0) -> Sample:
        """The sample of one target in one epoch (pass over the data).

        It depends on the rules, the epoch, and the target's path and references: not on the
        target's position or on other rows.
        """
        target, rules = self.targets[index], self.rules
        rng = seeded(rules.seed, "draw", epoch, target.video)
        candidates = self.candidates[index]
        first, *further = rng.sample(candidates, min(rules.references, len(candidates)))
        kept = [reference for reference in further if rng.random() >= rules.reference_drop]
        references = (first, *kept)
        if rng.random() < rules.caption_drop:
            return Sample(target, references, "", ("",) * len(references))
        captions = tuple(reference.caption for reference in references)
        return Sample(target, references, target.caption, captions)


def pair_clips(rows: Iterable[ClipRow], rules: PairingRules) -> Pairing:
    """Find the alive targets, and their references, among rows of different paths."""
    selected = select_rows(rows, SelectionRules(above=rules.threshold, splits=rules.splits))
    alive = {row.video: row for row in selected.rows}
    conditions: dict[str, list[ClipRow]] = defaultdict(list)
    for row in alive.values():
        conditions[row.condition].append(row)
    targets: list[ClipRow] = []
    candidates: list[tuple[ClipRow, ...]] = []
    borrowed = 0
    for row in alive.values():
        listed = dict.fromkeys(row.references)  # each once
        listed.pop(row.video, None)
        references = tuple(alive[path] for path in listed if path in alive)
        if not references:
            references = _random_other(row, conditions[row.condition], rules.seed)
            borrowed += len(references)
        if references:
            targets.append(row)
            candidates.append(references)
    gone = dict(selected.gone)
    if lonely := len(alive) - len(targets):
        gone["no reference alive in its condition"] = lonely
    return Pairing(tuple(targets), tuple(candidates), gone, borrowed, rules)


def _random_other(row: ClipRow, condition: list[ClipRow], seed: int) -> tuple[ClipRow, ...]:
    """One random clip of the row's condition other than the row, or nothing if it is alone."""
    if len(condition) == 1:
        return ()
    rng = seeded(seed, "borrow", row.video)
    while (other := rng.choice(condition)) is row:
        pass
    return (other,)


def seeded(*key: object) -> random.Random:
    """A generator of its own for each key; text seeds are hashed the same on every machine."""
    return random.Random("/".join(map(str, key)))  # noqa: S311  (sampling, not secrecy)
