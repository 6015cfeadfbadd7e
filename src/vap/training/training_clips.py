"""Training samples of an encoded dataset: targets with references, or winners with losers."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vap.data.check import load_table
from vap.data.clip_encoder import other_encoders
from vap.data.encoded import MANIFEST, TEXT, EncodedClips, caption_digest
from vap.data.pairing import PairingRules, pair_clips
from vap.data.preferences import (
    CLEAR_EPOCHS,
    CLOSER,
    PreferencePair,
    PreferenceRules,
    mine_preferences,
    stage_of_epoch,
)
from vap.data.row_selection import SelectionRules, check_names, select_rows
from vap.data.rows import TRAIN, ClipRow
from vap.training.bucket_sampler import BucketSampler
from vap.training.tuning_config import DataConfig, DPOStage, TuningStage

Encodings = Mapping[str, Tensor]

# So many in a row mean that there are no pairs: the early epochs, and some more, as epochs may draw
# no pair of one size by chance.
_EMPTY_EPOCHS = CLEAR_EPOCHS + 8

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairBatch:
    """Targets with their references."""

    # Encodings ``[B, …]`` by name, see :class:`vap.pipelines.video_prompt.VideoPrompt`.
    target: Encodings
    reference: Encodings  # encodings ``[B, R, …]``
    names: tuple[str, ...]  # paths of the targets


@dataclass(frozen=True)
class PreferenceBatch:
    """Winners, losers and the references that they are judged by."""

    winner: Encodings  # encodings ``[B, …]``
    loser: Encodings  # encodings ``[B, …]``
    reference: Encodings  # encodings ``[B, 1, …]``
    weight: Tensor  # of each pair, ``[B]``
    names: tuple[str, ...]  # paths of the winners


class _Clips:
    """Rows of a recipe and their encodings."""

    def __init__(
        self, config: DataConfig, seed: int, model: str | None, above: float | None = None
    ) -> None:
        self._encoded = EncodedClips(config.encoded)
        if model is not None:
            _check_encoders(config, self._encoded, model)
        self._rows = read_rows(config, self._encoded, seed, above=above)
        self._splits = frozenset(row.split for row in self._rows)

    def _size(self, row: ClipRow) -> object:
        """What clips that meet in one sample have in common."""
        return self._encoded.clips[row.video].shape

    def _read(self, rows: Iterable[ClipRow]) -> Encodings:
        return _stack(self._encoded.read(row.video) for row in rows)


class PairedClips(_Clips):
    """Targets with references, drawn by the release's rules.

    Args:
        config: Table, encodings and rules.
        batch_size: Samples of a batch. The paper's is one; in a larger one all samples have as
            many references as the one that drew the fewest.
        seed: Of every random choice.
        model: Whose encodings they must be; None to trust them.
    """

    def __init__(
        self, config: DataConfig, batch_size: int, seed: int, model: str | None = None
    ) -> None:
        super().__init__(config, seed, model, config.threshold)
        drops = config.reference_drop, config.caption_drop
        rules = PairingRules(config.threshold, self._splits, config.references, *drops, seed)
        groups: dict[object, list[ClipRow]] = {}
        for row in self._rows:
            groups.setdefault(self._size(row), []).append(row)
        pairings = [pair_clips(rows, rules) for rows in groups.values()]
        self._places = [(pairing, i) for pairing in pairings for i in range(len(pairing))]
        buckets = [group for group, pairing in enumerate(pairings) for _ in range(len(pairing))]
        self._sampler = BucketSampler(buckets, batch_size, seed)

    def __len__(self) -> int:
        return len(self._places)

    def batch(self, number: int) -> PairBatch:
        """The samples of a batch, a function of its number."""
        epoch, indices = self._sampler(number)
        places = (self._places[index] for index in indices)
        samples = [pairing.draw(i, epoch) for pairing, i in places]
        count = min(len(sample.references) for sample in samples)
        targets, references = [], []
        for sample in samples:
            targets.append(self._captioned(sample.target, sample.caption))
            shown = zip(sample.references[:count], sample.reference_captions, strict=False)
            references.append(_stack(self._captioned(row, caption) for row, caption in shown))
        names = tuple(sample.target.video for sample in samples)
        return PairBatch(_stack(targets), _stack(references), names)

    def empty_text(self) -> Tensor:
        """Encoding of the empty caption ``[L, D]``."""
        return self._encoded.empty_text()

    def _captioned(self, row: ClipRow, caption: str) -> Encodings:
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


class PreferredClips(_Clips):
    """Winners, losers and references, mined again each epoch.

    Epochs without a pair, as the first ones of a table without extreme scores, are skipped.
    """

    def __init__(
        self, config: DataConfig, batch_size: int, seed: int, model: str | None = None
    ) -> None:
        super().__init__(config, seed, model)
        self._rules = PreferenceRules(splits=self._splits, seed=seed)
        self._batch_size, self._seed, self._table = batch_size, seed, config.table
        self._first = self._epoch = self._next(0, begins=0)

    def batch(self, number: int) -> PreferenceBatch:
        """The pairs of a batch, a function of its number."""
        epoch = self._epoch_of(number)
        chosen = [epoch.pairs[index] for index in epoch.sampler(number - epoch.begins)[1]]
        return PreferenceBatch(
            self._read(pair.winner for pair in chosen),
            self._read(pair.loser for pair in chosen),
            _stack(self._read([pair.reference]) for pair in chosen),
            torch.tensor([pair.weight for pair in chosen]),
            tuple(pair.winner.video for pair in chosen),
        )

    def _epoch_of(self, number: int) -> _Epoch:
        """The epoch of a batch: epochs differ in length, so those before it are gone through."""
        if number < self._epoch.begins:
            self._epoch = self._first
        while number >= (end := self._epoch.begins + self._epoch.sampler.batches_per_epoch):
            self._epoch = self._next(self._epoch.number + 1, begins=end)
        return self._epoch

    def _next(self, epoch: int, begins: int) -> _Epoch:
        """The first epoch from this one on that has pairs."""
        for number in range(epoch, epoch + _EMPTY_EPOCHS):
            stage = stage_of_epoch(number)
            mined = mine_preferences(self._rows, self._rules, epoch=number, stage=stage)
            pairs = [pair for pair in mined if self._is_of_one_size(pair)]
            if pairs:
                buckets = [self._size(pair.winner) for pair in pairs]
                sampler = BucketSampler(buckets, self._batch_size, self._seed + number)
                return _Epoch(begins, number, pairs, sampler)
        raise ValueError(
            f"There is no pair to train on in {self._table}: for one condition and size, a pair "
            f"needs a winner scored {CLOSER.winner_from:g} or more, a loser scored "
            f"{CLOSER.loser_to:g} "
            f"or less and another clip scored above {self._rules.reference_above:g} as reference. "
            "Check `vap data summary` and the recipe's data section."
        )

    def _is_of_one_size(self, pair: PreferencePair) -> bool:
        return len({self._size(row) for row in (pair.winner, pair.loser, pair.reference)}) == 1


def clips_of(recipe: TuningStage, model: str | None) -> PairedClips | PreferredClips:
    """What a stage trains on, encoded by this model; None trusts the encodings."""
    kind = PreferredClips if isinstance(recipe, DPOStage) else PairedClips
    return kind(recipe.data, recipe.loop.batch_size, recipe.loop.seed, model)


def _check_encoders(config: DataConfig, encoded: EncodedClips, model: str) -> None:
    """Refuse the encodings of another model."""
    differ = [key for key in other_encoders(encoded.manifest, model) if key in encoded.manifest]
    if not differ:
        return
    saved = (
        " If the encoders are the same and were only saved differently, remove the entry "
        f"'encoders' from {config.encoded / MANIFEST}."
    )
    raise ValueError(
        f"{config.encoded} was encoded with another model than {model}: {' and '.join(differ)} "
        f"differ. Encode the clips with --model {model} into another folder, or set model.start "
        "to the model that encoded them." + (saved if differ == ["encoders"] else "")
    )


def read_rows(
    config: DataConfig, encoded: EncodedClips, seed: int, *, above: float | None = None
) -> tuple[ClipRow, ...]:
    """Rows of the table that are encoded and can be trained on, at the chosen scale.

    Subsets of one seed are nested, so that a curve over the scale of the data adds clips only.
    """
    table = load_table(config.table, splits=None, on_error="skip")
    check_names("data.conditions:", config.conditions, (row.condition for row in table.rows))
    splits = splits_of(config, {row.split for row in table.rows})
    rules = SelectionRules(above, splits, frozenset(config.conditions) or None)
    # First what can be trained on, then how much of it: the scale is a number of training clips.
    rows = [row for row in select_rows(table.rows, rules).rows if row.video in encoded]
    if config.clips and config.clips < len(rows):
        order = list(range(len(rows)))
        random.Random(seed).shuffle(order)  # noqa: S311 - sampling, not secrecy
        rows = [rows[index] for index in sorted(order[: config.clips])]
    changed = [
        row.video for row in rows if encoded.clips[row.video].caption != caption_digest(row.caption)
    ]
    if changed:
        _LOGGER.warning(
            "%d of %d captions in %s have changed since they were encoded into %s; the first is "
            "that of %r. Training uses the encoded ones. To use the new captions, encode again "
            "into another folder.",
            len(changed),
            len(rows),
            config.table,
            config.encoded,
            changed[0],
        )
    return tuple(rows)


def splits_of(config: DataConfig, known: Collection[str]) -> frozenset[str]:
    """Splits to train on: the recipe's, else the table's train split, else its only one."""
    if config.splits or not known or TRAIN in known:
        check_names("data.splits:", config.splits, known)
        return frozenset(config.splits or (TRAIN,))
    if len(known) > 1:
        raise ValueError(
            f"The table has no split {TRAIN!r} but {', '.join(map(repr, sorted(known)))}. Set "
            "data.splits to those to train on."
        )
    _LOGGER.info("training on the table's only split, %s", *known)
    return frozenset(known)


def _stack(samples: Iterable[Encodings]) -> Encodings:
    """Encodings of several clips under a new first axis."""
    each = list(samples)
    return {name: torch.stack([sample[name] for sample in each]) for name in each[0]}
