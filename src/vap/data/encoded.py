"""Encoded clips: VAE latents and embeddings of a dataset in safetensors shards.

A shard has consecutive clips of a table. The tensors of clip *i* are those of a
:class:`.VideoPrompt` of that clip alone, named ``"<i>.<name>"``, so that the same
encoding serves a clip as target and as reference.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vap.files.weights import save_tensors
from vap.pipelines.video_prompt import ENCODINGS, OPTIONAL_ENCODINGS
from vap.shapes import Family, PixelShape

MANIFEST = "encoding.json"
JOB = "job"
"""Digest of the job that a folder's manifest and each of its shards belong to."""
TEXT = "text"
_EMPTY = "empty"
_FORMAT, _FORMAT_VERSION = "vap-encoded-clips", 1
_OPEN_FILES = 32
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class EncodedClip:
    """A clip in a shard."""

    video: str
    shape: PixelShape
    text_tokens: int  # of its caption; a tail of zeros is not stored
    caption: str  # its digest

    @classmethod
    def from_json(cls, noted: Mapping[str, Any]) -> EncodedClip:
        """Read what a shard notes of a clip."""
        return cls(
            str(noted["video"]),
            PixelShape(**noted["shape"]),
            int(noted["text_tokens"]),
            str(noted["caption"]),
        )


@dataclass(frozen=True)
class Shard:
    """Clips that are written together."""

    clips: Sequence[EncodedClip]
    tensors: Sequence[Mapping[str, Tensor]]
    dropped: Mapping[str, str]
    empty_text: Tensor | None = None  # [L, D], in the first shard
    job: str | None = None


def caption_digest(caption: str) -> str:
    """A short hash of a caption."""
    return hashlib.sha256(caption.encode()).hexdigest()[:_DIGITS]


def shard_name(index: int) -> str:
    """File name of a shard."""
    return f"shard-{index:06d}.safetensors"


def write_shard(path: Path, shard: Shard, dtype: torch.dtype) -> None:
    """Write a shard, whole or not at all."""
    tensors = {
        f"{index}.{name}": _stored(name, tensor, dtype)
        for index, encodings in enumerate(shard.tensors)
        for name, tensor in encodings.items()
    }
    if shard.empty_text is not None:
        tensors[f"{_EMPTY}.{TEXT}"] = _stored(TEXT, shard.empty_text, dtype)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{path.name}: {name} is not finite in {dtype}. Encode with float32.")
    content = {
        "version": _FORMAT_VERSION,
        JOB: shard.job,
        "clips": [asdict(clip) for clip in shard.clips],
        "dropped": dict(shard.dropped),
    }
    # One key: safetensors writes several in random order, and equal work gives equal bytes.
    save_tensors(tensors, path, {_FORMAT: json.dumps(content)})


def _stored(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if name == TEXT:
        filled = tensor.abs().sum(dim=-1).nonzero()
        tensor = tensor[: int(filled.max()) + 1 if len(filled) else 1]
    return tensor.to(dtype).contiguous()


class EncodedClips:
    """Random access to the clips of a folder of shards.

    Args:
        folder: What ``vap data encode`` wrote.

    Attributes:
        clips: Every clip by its path in the table.
        dropped: Clips that could not be read, and why.

    Raises:
        FileNotFoundError: If shards are missing.
        ValueError: If a shard is damaged, no shard, or of another job than the manifest.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clips: dict[str, EncodedClip] = {}
        self.dropped: dict[str, str] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._open: OrderedDict[int, Any] = OrderedDict()
        self.manifest = read_manifest(folder)
        for shard in range(int(self.manifest["shards"])):
            self._index(shard)

    def __contains__(self, video: str) -> bool:
        return video in self.clips

    def read(self, video: str) -> dict[str, Tensor]:
        """Encodings of a clip in float32, without the axis R of a video prompt."""
        shard, position = self._places[video]
        file, prefix = self._file(shard), f"{position}."
        names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - no dict
        tensors = {name.removeprefix(prefix): file.get_tensor(name).float() for name in names}
        tensors[TEXT] = _padded(tensors[TEXT], self.clips[video].text_tokens)
        return tensors

    def empty_text(self) -> Tensor:
        """Encoding of the empty caption ``[L, D]`` in float32."""
        if not self.clips:
            reason = next(iter(self.dropped.values()), "there were none")
            raise ValueError(
                f"{self.folder} contains no clips: {len(self.dropped)} were dropped ({reason})."
            )
        stored = self._file(0).get_tensor(f"{_EMPTY}.{TEXT}").float()
        return _padded(stored, next(iter(self.clips.values())).text_tokens)

    def _index(self, shard: int) -> None:
        path = self.folder / shard_name(shard)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: {self.folder} is incomplete. Run the same `vap data encode` "
                "again to continue."
            )
        try:
            content = json.loads((self._file(shard).metadata() or {})[_FORMAT])
            clips = [EncodedClip.from_json(clip) for clip in content["clips"]]
            dropped = dict(content["dropped"])
            job = content[JOB]
            _check_names(self.manifest["family"], len(clips), self._file(shard).keys())
        except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged or not a shard ({error}). Remove it and encode again."
            ) from error
        if job != self.manifest.get(JOB):
            raise ValueError(
                f"{path} does not belong to the job in {MANIFEST}: its clips were encoded with "
                "other settings or from another table. Remove it and encode again."
            )
        self.dropped |= dropped
        for position, clip in enumerate(clips):
            self.clips[clip.video] = clip
            self._places[clip.video] = shard, position

    def _file(self, shard: int) -> Any:
        """A shard, open; the least recently used one is closed where there are too many."""
        if shard not in self._open:
            self._open[shard] = safe_open(self.folder / shard_name(shard), framework="pt")
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(shard)
        return self._open[shard]


def _check_names(family: Family, clips: int, names: Iterable[str]) -> None:
    """Refuse a shard with missing or surplus tensors."""
    needed = {f"{clip}.{name}" for clip in range(clips) for name in ENCODINGS[family]}
    known = {f"{clip}.{name}" for clip in range(clips) for name in OPTIONAL_ENCODINGS[family]}
    missing, unknown = needed.difference(names), {*names} - needed - known - {f"{_EMPTY}.{TEXT}"}
    if missing or unknown:
        what = f"{min(missing)} is missing" if missing else f"{min(unknown)} is not an encoding"
        raise ValueError(what)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of shards."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {MANIFEST} in {folder}. Give a folder that `vap data encode` wrote."
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        int(manifest["shards"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged ({error}). Remove the folder and encode again."
        ) from error
    return manifest


def _padded(text: Tensor, tokens: int) -> Tensor:
    """Restore the tail of zeros."""
    return F.pad(text, (0, 0, 0, tokens - len(text)))
