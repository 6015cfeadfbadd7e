"""Weights in files and in memory: precision, identity and alignment."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from vap.files.atomic import atomic_file
from vap.files.folders import read_json

if TYPE_CHECKING:  # headers are read before torch is imported
    import torch

LORA_FILE = "pytorch_lora_weights.safetensors"
"""Where diffusers looks for a LoRA in a folder."""

_TORCH_ALIGNMENT = 64
# What is read of each file beside its header.
_SAMPLES, _SAMPLE_BYTES = 64, 4096


def save_tensors(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file, whole or not at all."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as temporary, disk_errors(path):
        save_file(plain, temporary, metadata=dict(metadata) if metadata else None)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise safetensors' error about a full disk as an OSError."""
    try:
        yield
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as a file's header describes it."""

    file: Path  # Where it is
    dtype: str  # In safetensors' words, such as BF16
    shape: tuple[int, ...]  # Its sizes


def read_headers(files: Iterable[Path]) -> dict[str, StoredTensor]:
    """The tensors of safetensors files, by name; none is read."""
    found: dict[str, StoredTensor] = {}
    for file in files:
        try:
            with safe_open(file, framework="np") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a dict
                    if name in found:
                        raise ValueError(
                            f"{file} and {found[name].file} both contain {name}. Remove one of "
                            "them."
                        )
                    stored = tensors.get_slice(name)
                    shape = tuple(stored.get_shape())
                    found[name] = StoredTensor(file, stored.get_dtype(), shape)
        except SafetensorError as error:
            raise ValueError(
                f"{file} is damaged or incomplete ({error}). Copy it again."
            ) from error
    return found


def is_floating(dtype: str) -> bool:
    """Whether a type of safetensors is a floating one that torch computes with."""
    return dtype in {"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"}


def settle(module: torch.nn.Module) -> None:
    """Copy weights out of the files that they are mapped from.

    On a CPU, the last bit of a product depends on the alignment of its operands, and the alignment
    of a weight in a file depends on the length of the file's header. So vap places weights where
    torch would have placed them: then the same weights give the same bytes from every file.
    """
    import torch

    for tensor in (*module.parameters(), *module.buffers()):
        plain = type(tensor) in {torch.Tensor, torch.nn.Parameter}
        if plain and tensor.device.type == "cpu" and tensor.data_ptr() % _TORCH_ALIGNMENT:
            tensor.data = tensor.data.clone()


def shape_difference(
    found: Mapping[str, Sequence[int]], wanted: Mapping[str, Sequence[int]]
) -> tuple[str, str, str] | None:
    """The first tensor, by name, that two sets of tensors disagree on."""
    for name in sorted({*wanted, *found}):
        first, second = found.get(name), wanted.get(name)
        if first is None or second is None or tuple(first) != tuple(second):
            return name, _say(first), _say(second)
    return None


def _say(shape: Sequence[int] | None) -> str:
    return "absent" if shape is None else "×".join(map(str, shape))


def stored_dtype(folder: Path) -> torch.dtype:
    """Precision that most of a component's weights are stored in; diffusers loads float32."""
    import torch

    elements: Counter[str] = Counter()
    for tensor in read_headers(sorted(folder.glob("*.safetensors"))).values():
        elements[tensor.dtype] += math.prod(tensor.shape)
    most = elements.most_common(1)
    return {"F16": torch.float16, "BF16": torch.bfloat16}.get(
        most[0][0] if most else "", torch.float32
    )


def weights_hash(folder: Path) -> str:
    """Identify a pipeline folder's configurations and weights, in a moment even at 38 GB.

    The files' names, lengths and headers (every tensor's name, precision and shape) go in whole,
    and of the values 64 samples a file, evenly spread and the ends included. Training, another
    precision or another model change it; it does not prove that no single value was altered.
    """
    return _hash(folder, "*/", "in its subfolders")


def component_hash(folder: Path) -> str:
    """Identify one model's folder as :func:`weights_hash` does a pipeline's."""
    return _hash(folder, "", "in it")


def _hash(folder: Path, within: str, where: str) -> str:
    files = sorted(folder.glob(f"{within}*.safetensors"))
    if not files:
        raise FileNotFoundError(
            f"{folder} contains no weights: expected safetensors files {where}."
        )
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob(f"{within}*config.json")), *files]:
        _add(digest, path.relative_to(folder).as_posix().encode())
        _add(digest, plain_configuration(path) if path.suffix == ".json" else sampled_digest(path))
    return digest.hexdigest()


def plain_configuration(path: Path) -> bytes:
    """A configuration as far as it matters: not who wrote it, and in what order."""
    content = {key: value for key, value in read_json(path).items() if not key.startswith("_")}
    return json.dumps(content, sort_keys=True).encode()


def sampled_digest(path: Path) -> bytes:
    """Digest of a safetensors file's length, header and samples, see :func:`weights_hash`."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        header = int.from_bytes(start, "little")
        _add(digest, str(size).encode())
        _add(digest, start + stream.read(min(header, size)))
        first, last = stream.tell(), max(stream.tell(), size - _SAMPLE_BYTES)
        for sample in range(_SAMPLES):
            stream.seek(first + (last - first) * sample // (_SAMPLES - 1))
            _add(digest, stream.read(_SAMPLE_BYTES))
    return digest.digest()


def _add(digest: hashlib._Hash, part: bytes) -> None:
    """Add a part such that no other split into parts gives the same digest."""
    digest.update(len(part).to_bytes(8, "little"))
    digest.update(part)
