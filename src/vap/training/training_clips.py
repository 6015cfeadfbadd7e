"""Training samples of an encoded dataset: targets with references, or winners with losers."""

from __future__ import annotations

import difflib
import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vap.data.check import load_table
from vap.data.clip_encoder import other_encoders
from vap.data.encoded import MANIFEST, TEXT, EncodedClips, caption_digest
from vap.data.pairing import Pairing, PairingRules, pair_clips
from vap.data.preferences import (
    CLEAR_EPOCHS,
    CLOSER,
    PreferencePair,
    PreferenceRules,
    mine_preferences,
    stage_of_epoch,
)
from vap.data.row_selection import SelectionRules, select_rows
from vap.data.rows import TRAIN, ClipRow
from vap.training.bucket_sampler import BucketSampler
from vap.training.tuning_config import DataConfig

Encodings = Mapping[str, Tensor]

_SHOWN = 5  # names that a refusal spells out
# So many in a row mean that there are no pairs: the early epochs, and some more, as epochs may draw
# no pair of one size by chance.
_EMPTY_EPOCHS = CLEAR_EPOCHS + 8

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairBatch:
    """Targets with their references.

    Attributes:
        target: Encodings ``[B, …]`` by name, see :class:`vap.pipelines.video_prompt.VideoPrompt`.
        reference: Encodings ``[B, R, …]``.
        names: Paths of the targets.
    """

    target: Encodings
    reference: Encodings
    names: tuple[str, ...]


@dataclass(frozen=True)
class PreferenceBatch:
    """Winners, losers and the references that they are judged by.

    Attributes:
        winner: Encodings ``[B, …]``.
        loser: Encodings ``[B, …]``.
        reference: Encodings ``[B, 1, …]``.
        weight: Of each pair, ``[B]``.
        names: Paths of the winners.
    """

    winner: Encodings
    loser: Encodings
    reference: Encodings
    weight: Tensor
    names: tuple[str, ...]


def open_encoded(config: DataConfig, model: str | None = None) -> EncodedClips:
    """The encodings of a recipe, after a look at whose they are."""
    encoded = EncodedClips(config.encoded)
    noted = encoded.manifest
    others = [] if model is None else other_encoders(noted, model)
    differ = [key for key in others if key in noted]
    if differ:
        message = (
            f"{config.encoded} was encoded by another model than {model}: {' and '.join(differ)} "
            f"differ. Encode the clips with --model {model} into another folder, or set "
            "model.start to the model that encoded them."
        )
        if differ == ["encoders"]:
            message += (
                f" If its encoders are the same but for how they were saved, take the entry "
                f"'encoders' out of {config.encoded / MANIFEST}."
            )
        raise ValueError(message)
    return encoded


def read_rows(
    config: DataConfig, encoded: EncodedClips, seed: int, *, above: float | None = None
) -> tuple[ClipRow, ...]:
    """Rows of the table that are encoded and can be trained on, at the chosen scale.

    Subsets of one seed are nested, so that a curve over the scale of the data adds clips only.
    """
    table = load_table(config.table, splits=None, on_error="skip")
    _check_names("data.conditions", config.conditions, {row.condition for row in table.rows})
    splits = splits_of(config, {row.split for row in table.rows})
    rules = SelectionRules(above, splits, frozenset(config.conditions) or None)
    # First what can be trained on, then how much of it: the scale is a number of training clips.
    rows = [row for row in select_rows(table.rows, rules).rows if row.video in encoded]
    if config.clips and config.clips < len(rows):
        order = list(range(len(rows)))
        random.Random(seed).shuffle(order)  # noqa: S311 - sampling, not secrecy
        kept = set(order[: config.clips])
        rows = [row for index, row in enumerate(rows) if index in kept]
    _warn_of_captions(rows, config, encoded)
    return tuple(rows)


def splits_of(config: DataConfig, known: Collection[str]) -> frozenset[str]:
    """Splits to train on: the recipe's, else the table's train split, else its only one."""
    if config.splits or not known or TRAIN in known:
        _check_names("data.splits", config.splits, known)
        return frozenset(config.splits or (TRAIN,))
    if len(known) > 1:
        raise ValueError(
            f"The table has no split {TRAIN!r} but {', '.join(map(repr, sorted(known)))}. Set "
            "data.splits to those that are to be trained on."
        )
    _LOGGER.info("training on the table's only split, %s", *known)
    return frozenset(known)


def _warn_of_captions(rows: Sequence[ClipRow], config: DataConfig, encoded: EncodedClips) -> None:
    """Say so where the table has other captions than those that were encoded."""
    changed = [
        row.video
        for row in rows
        if encoded.clips[row.video].caption not in {None, caption_digest(row.caption)}
    ]
    if changed:
        _LOGGER.warning(
            "%d of %d captions of %s are not those that were encoded into %s, which training "
            "keeps to; the first is that of %r. Encode again, into another folder, to train on the "
            "table's.",
            len(changed),
            len(rows),
            config.table,
            config.encoded,
            changed[0],
        )


def _check_names(key: str, chosen: Sequence[str], known: Collection[str]) -> None:
    """Refuse a name that no row has: the others would be trained on as if it were not there."""
    for name in chosen:
        if known and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            some = ", ".join(map(repr, sorted(known)[:_SHOWN]))
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has, for example, {some}."
            raise ValueError(f"{key} names {name!r}, which no row of the table has; {hint}")


class PairedClips:
    """Targets with references, drawn by the release's rules."""

    def __init__(
        self, config: DataConfig, batch_size: int, seed: int, model: str | None = None
    ) -> None:
        self._encoded = open_encoded(config, model)
        chosen = read_rows(config, self._encoded, seed, above=config.threshold)
        rules = PairingRules(
            config.threshold,
            frozenset(row.split for row in chosen),
            config.references,
            config.reference_drop,
            config.caption_drop,
            seed,
        )
        # Streams of one sample have one size, so clips meet only clips of their own.
        groups: dict[object, list[ClipRow]] = {}
        for row in chosen:
            groups.setdefault(self._encoded.clips[row.video].shape, []).append(row)
        self._pairings: list[Pairing] = [pair_clips(rows, rules) for rows in groups.values()]
        places = [(g, i) for g, pairing in enumerate(self._pairings) for i in range(len(pairing))]
        self._places = places
        self._sampler = BucketSampler([group for group, _ in places], batch_size, seed)

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, number: int) -> PairBatch:
        """The samples of a batch, a function of its number.

        The paper's batch is one sample. In a larger one all samples have as many references as
        the one that drew the fewest.
        """
        epoch, indices = self._sampler(number)
        places = (self._places[index] for index in indices)
        samples = [self._pairings[group].draw(i, epoch) for group, i in places]
        count = min(len(sample.references) for sample in samples)
        return PairBatch(
            stack([self._read(sample.target, sample.caption) for sample in samples]),
            stack(
                [
                    stack(
                        [
                            self._read(row, caption)
                            for row, caption in zip(
                                sample.references[:count],
                                sample.reference_captions[:count],
                                strict=True,
                            )
                        ]
                    )
                    for sample in samples
                ]
            ),
            tuple(sample.target.video for sample in samples),
        )

    def empty_text(self) -> Tensor:
        """Encoding of the empty caption ``[L, D]``."""
        return self._encoded.empty_text()

    def _read(self, row: ClipRow, caption: str) -> Encodings:
        """Encodings of a clip; its caption is its own or the empty one."""
        encodings = self._encoded.read(row.video)
        return encodings if caption else {**encodings, TEXT: self.empty_text()}


@dataclass(frozen=True)
class _Epoch:
    """Pairs of an epoch in their order, and the number of its first batch."""

    begins: int
    number: int
    pairs: Sequence[PreferencePair]
    sampler: BucketSampler


class PreferredClips:
    """Winners, losers and references, mined again each epoch.

    Epochs without a pair, as the first ones of a table without extreme scores, are passed over.
    """

    def __init__(
        self, config: DataConfig, batch_size: int, seed: int, model: str | None = None
    ) -> None:
        self._encoded = open_encoded(config, model)
        self._rows = read_rows(config, self._encoded, seed)
        self._rules = PreferenceRules(splits=frozenset(row.split for row in self._rows), seed=seed)
        self._batch_size, self._seed = batch_size, seed
        self._table = config.table
        self._first = self._epoch = _Epoch(0, *self._next(0))

    def batch(self, number: int) -> PreferenceBatch:
        """The pairs of a batch, a function of its number."""
        pairs, sampler, place = self._locate(number)
        chosen = [pairs[index] for index in sampler(place)[1]]
        return PreferenceBatch(
            stack([self._encoded.read(pair.winner.video) for pair in chosen]),
            stack([self._encoded.read(pair.loser.video) for pair in chosen]),
            stack([stack([self._encoded.read(pair.reference.video)]) for pair in chosen]),
            torch.tensor([pair.weight for pair in chosen]),
            tuple(pair.winner.video for pair in chosen),
        )

    def _locate(self, number: int) -> tuple[Sequence[PreferencePair], BucketSampler, int]:
        """Pairs and order of the epoch that a batch is in, and its place there.

        Epochs differ in length, so those before are gone through from the last one known.
        """
        if number < self._epoch.begins:
            self._epoch = self._first
        while number - self._epoch.begins >= self._epoch.sampler.batches_per_epoch:
            begins = self._epoch.begins + self._epoch.sampler.batches_per_epoch
            self._epoch = _Epoch(begins, *self._next(self._epoch.number + 1))
        return self._epoch.pairs, self._epoch.sampler, number - self._epoch.begins

    def _next(self, epoch: int) -> tuple[int, Sequence[PreferencePair], BucketSampler]:
        """The first epoch from this one on that has pairs, and what it has."""
        for number in range(epoch, epoch + _EMPTY_EPOCHS):
            if pairs := self._mine(number):
                buckets = [self._shape(pair.winner) for pair in pairs]
                return number, pairs, BucketSampler(buckets, self._batch_size, self._seed + number)
        raise ValueError(
            f"There is no pair to train on in {self._table}: of one condition and size, it takes "
            f"a winner scored {CLOSER.winner_from:g} or more, a loser scored {CLOSER.loser_to:g} "
            f"or less and another clip scored above {self._rules.reference_above:g} as reference. "
            "Look at `vap data summary` and at the recipe's data section."
        )

    def _mine(self, epoch: int) -> list[PreferencePair]:
        mined = mine_preferences(self._rows, self._rules, epoch=epoch, stage=stage_of_epoch(epoch))
        return [
            pair
            for pair in mined
            if len({self._shape(row) for row in (pair.winner, pair.loser, pair.reference)}) == 1
        ]

    def _shape(self, row: ClipRow) -> object:
        return self._encoded.clips[row.video].shape


def stack(samples: Sequence[Encodings]) -> Encodings:
    """Encodings of several clips under a new first axis."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
