"""Pairs encoded once: latents, conditions and image tokens in safetensors shards.

What the stages of a mini model train on. Unlike :mod:`vap.data.encoded`, which keeps what a
finished pipeline makes of a table of files, it keeps captions as text, because the text encoder
trains too, and rendered pairs, which come from no file.

A shard has N pairs; the axis ``S`` of size 2 is the side of a pair, reference then target.
Values are float16: latents are normalized, so nothing is near the format's limits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vap.files.weights import save_tensors

_TENSORS = ("latents", "conditions", "image_tokens")
_ORIGIN = "origin"


@dataclass(frozen=True)
class EncodedPairs:
    """Encoded pairs, both sides of each."""

    latents: Tensor  # normalized VAE latents ``[N, S, C, F, H, W]``
    # Normalized VAE latents of the first frame followed by zeros (mid-grey in pixels), of the same
    # shape: what an image-to-video model is given.
    conditions: Tensor
    image_tokens: Tensor  # image encoder's tokens of the first frame ``[N, S, I, D]``
    # For each pair and side, the caption without and with the effect.
    captions: Sequence[tuple[tuple[str, str], tuple[str, str]]]
    names: Sequence[str]  # the condition of each pair

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def joined(cls, parts: Iterable[EncodedPairs]) -> Self:
        """The pairs of several parts, in their order."""
        each = list(parts)
        latents, conditions, image_tokens = (
            torch.cat([getattr(part, name) for part in each]) for name in _TENSORS
        )
        captions = [caption for part in each for caption in part.captions]
        names = [name for part in each for name in part.names]
        return cls(latents, conditions, image_tokens, captions, names)


@dataclass(frozen=True)
class Batch:
    """What a step trains on; its fields with a method ``to`` move to the model's device."""

    def to(self, device: torch.device) -> Self:
        """The same samples on a device; tensors that are there already stay as they are."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            self, **{name: v.to(device) for name, v in values.items() if hasattr(v, "to")}
        )


@dataclass(frozen=True)
class ClipBatch(Batch):
    """One side of some pairs: what a network is given of a clip."""

    latents: Tensor  # ``[B, C, F, H, W]`` in float32
    conditions: Tensor  # ``[B, C, F, H, W]`` in float32
    image_tokens: Tensor  # ``[B, I, D]`` in float32
    captions: Sequence[tuple[str, str]]  # caption without and with the effect, of each clip


@dataclass(frozen=True)
class ShardOrigin:
    """Which pairs are in a shard."""

    first: int  # index of its first pair
    stop: int  # index after its last pair
    content: str  # hash of all that decides what a pair of an index looks like encoded
    image_encoder: str  # what made the image tokens, in JSON


def write_shard(path: Path, pairs: EncodedPairs, origin: ShardOrigin) -> None:
    """Write one shard, whole or not at all."""
    tensors = {name: getattr(pairs, name).to(torch.float16) for name in _TENSORS}
    metadata = {
        "captions": json.dumps(pairs.captions),
        "names": json.dumps(list(pairs.names)),
        _ORIGIN: json.dumps(asdict(origin)),
    }
    save_tensors(tensors, path, metadata)


def read_origin(path: Path) -> ShardOrigin:
    """Which pairs are in a shard."""
    try:
        with safe_open(path, framework="pt") as shard:
            note = (shard.metadata() or {})[_ORIGIN]
        return ShardOrigin(**json.loads(note))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def read_shards(*folders: Path) -> EncodedPairs:
    """Read all shards of some folders into memory, in the order of folders and names."""
    shards = []
    for folder in folders:
        paths = shards_of(folder)
        if not paths:
            raise FileNotFoundError(
                f"There is no shard (*.safetensors) in {str(folder)!r}. Run the recipe's latents "
                "stage first, or give the folder that it wrote."
            )
        shards += [_read_shard(path) for path in paths]
    for name in _TENSORS:
        shapes = {tuple(getattr(shard, name).shape[1:]) for shard in shards}
        if len(shapes) > 1:
            places = ", ".join(repr(str(folder)) for folder in folders)
            raise ValueError(f"The shards in {places} disagree on the shape of {name}: {shapes}.")
    return EncodedPairs.joined(shards)


def _read_shard(path: Path) -> EncodedPairs:
    """One shard."""
    try:
        with safe_open(path, framework="pt") as shard:
            if surplus := set(shard.keys()).difference(_TENSORS):
                raise ValueError(f"{', '.join(sorted(surplus))} is not a tensor of a shard")
            tensors = [shard.get_tensor(name) for name in _TENSORS]
            metadata = shard.metadata() or {}
        captions = [
            ((str(reference[0]), str(reference[1])), (str(target[0]), str(target[1])))
            for reference, target in json.loads(metadata["captions"])
        ]
        names = list(map(str, json.loads(metadata["names"])))
        if {len(captions), len(names), *map(len, tensors)} != {len(names)}:
            raise ValueError("its tensors, captions and names differ in number")
    except (SafetensorError, KeyError, IndexError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    latents, conditions, image_tokens = tensors
    return EncodedPairs(latents, conditions, image_tokens, captions, names)


def _damaged(path: Path, error: Exception) -> ValueError:
    said = f"there is no {error}" if isinstance(error, KeyError) else error
    return ValueError(f"{path} is damaged or no shard ({said}). Remove it and encode again.")


def only(pairs: EncodedPairs, conditions: Sequence[str]) -> EncodedPairs:
    """The pairs of some conditions; all of them if none is named."""
    if not conditions:
        return pairs
    missing = sorted(set(conditions) - set(pairs.names))
    if missing:
        known = ", ".join(sorted(set(pairs.names)))
        raise ValueError(f"There are no pairs of {', '.join(missing)}. There are: {known}.")
    kept = [index for index, name in enumerate(pairs.names) if name in conditions]
    return EncodedPairs(
        pairs.latents[kept],
        pairs.conditions[kept],
        pairs.image_tokens[kept],
        [pairs.captions[index] for index in kept],
        [pairs.names[index] for index in kept],
    )


def shards_of(folder: Path) -> list[Path]:
    """The shards of a folder by name, without partial files of a killed run."""
    return sorted(folder.glob("[!.]*.safetensors"))


def take(pairs: EncodedPairs, indices: Sequence[int], sides: Sequence[int]) -> ClipBatch:
    """One side of some pairs: 0 is the reference, 1 the target."""
    rows, columns = torch.as_tensor(indices), torch.as_tensor(sides)
    return ClipBatch(
        pairs.latents[rows, columns].float(),
        pairs.conditions[rows, columns].float(),
        pairs.image_tokens[rows, columns].float(),
        [pairs.captions[i][s] for i, s in zip(indices, sides, strict=True)],
    )


def draw(pairs: EncodedPairs, count: int, seed: int, step: int) -> tuple[list[int], list[int]]:
    """Pairs and sides of a training step, a function of seed and step.

    A pair works in both directions, so the target's side is drawn too.
    """
    rng = np.random.default_rng([seed, step])
    indices = rng.choice(len(pairs), size=count, replace=count > len(pairs))
    return indices.tolist(), rng.integers(0, 2, size=count).tolist()
