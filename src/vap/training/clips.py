"""Training samples of an encoded dataset: targets with references, or winners with losers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vap.data.check import load_table
from vap.data.encoded import TEXT, EncodedClips
from vap.data.pairing import Pairing, PairingRules, pair_clips
from vap.data.preferences import PreferencePair, PreferenceRules, mine_preferences, stage_of_epoch
from vap.data.schema import ClipRow
from vap.training.sampling import BucketSampler
from vap.training.tuning_config import DataConfig

Encodings = Mapping[str, Tensor]


@dataclass(frozen=True)
class PairBatch:
    """Targets with their references.

    Attributes:
        target: Encodings ``[B, …]`` by name, see :class:`vap.prompts.VideoPrompt`.
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
        loser: Likewise.
        reference: Encodings ``[B, 1, …]``.
        weight: Of each pair, ``[B]``.
        names: Paths of the winners.
    """

    winner: Encodings
    loser: Encodings
    reference: Encodings
    weight: Tensor
    names: tuple[str, ...]


def read_rows(config: DataConfig, encoded: EncodedClips, seed: int) -> tuple[ClipRow, ...]:
    """Rows of the table that are encoded, of the chosen conditions, at the chosen scale.

    Subsets of one seed are nested, so that a curve over the scale of the data adds clips only.
    """
    table = load_table(config.table, splits=None, on_error="skip")
    rows = [
        row
        for row in table.rows
        if row.video in encoded and (not config.conditions or row.condition in config.conditions)
    ]
    if config.clips and config.clips < len(rows):
        order = list(range(len(rows)))
        random.Random(seed).shuffle(order)  # noqa: S311 - sampling, not secrecy
        kept = set(order[: config.clips])
        rows = [row for index, row in enumerate(rows) if index in kept]
    return tuple(rows)


class PairedClips:
    """Targets with references, drawn by the release's rules.

    Args:
        config: Table, shards and rules.
        batch_size: Samples of a batch.
        seed: Seed of subsets, order and draws.
    """

    def __init__(self, config: DataConfig, batch_size: int, seed: int) -> None:
        self._encoded = EncodedClips(config.encoded)
        rules = PairingRules(
            config.threshold,
            frozenset(config.splits),
            config.references,
            config.reference_drop,
            config.caption_drop,
            seed,
        )
        # Streams of one sample have one size, so clips meet only clips of their own.
        groups: dict[object, list[ClipRow]] = {}
        for row in read_rows(config, self._encoded, seed):
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


class PreferredClips:
    """Winners, losers and references, mined anew each epoch.

    Args:
        config: Table and shards.
        batch_size: Pairs of a batch.
        seed: Seed of draws and order.
    """

    def __init__(self, config: DataConfig, batch_size: int, seed: int) -> None:
        self._encoded = EncodedClips(config.encoded)
        self._rows = read_rows(config, self._encoded, seed)
        self._rules = PreferenceRules(splits=frozenset(config.splits), seed=seed)
        self._batch_size, self._seed = batch_size, seed
        self._epoch: tuple[int, int, Sequence[PreferencePair], BucketSampler] | None = None

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
        if self._epoch is None or number < self._epoch[1]:
            self._epoch = (0, 0, *self._mine(0))
        epoch, first, pairs, sampler = self._epoch
        while number - first >= sampler.batches_per_epoch:
            epoch, first = epoch + 1, first + sampler.batches_per_epoch
            pairs, sampler = self._mine(epoch)
            self._epoch = epoch, first, pairs, sampler
        return pairs, sampler, number - first

    def _mine(self, epoch: int) -> tuple[Sequence[PreferencePair], BucketSampler]:
        pairs = [
            pair
            for pair in mine_preferences(
                self._rows, self._rules, epoch=epoch, stage=stage_of_epoch(epoch)
            )
            if len({self._shape(row) for row in (pair.winner, pair.loser, pair.reference)}) == 1
        ]
        sampler = BucketSampler(
            [self._shape(pair.winner) for pair in pairs], self._batch_size, self._seed + epoch
        )
        return pairs, sampler

    def _shape(self, row: ClipRow) -> object:
        return self._encoded.clips[row.video].shape


def stack(samples: Sequence[Encodings]) -> Encodings:
    """Encodings of several clips under a new first axis."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
