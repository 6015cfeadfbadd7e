"""What weights and settings a score belongs to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vap.files.names import resolve_folder
from vap.files.weights import weights_hash
from vap.media.files import hash_file
from vap.mini.evaluation.trained import Weights

_DIGITS = 16


def short_hash(path: Path) -> str:
    """The start of a file's SHA-256."""
    return hash_file(path)[:_DIGITS]


def settings_hash(settings: Mapping[str, Any]) -> str:
    """The start of the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def weights_hashes(weights: Weights, systems: Sequence[str]) -> dict[str, str]:
    """A hash for each system: of the model's weights, and of its own where it has any."""
    # As the records of single runs begin it, see :mod:`vap.files.weights`.
    model = weights_hash(resolve_folder(weights.model))[:_DIGITS]
    own = {name: weights.folder(name) for name in systems}
    return {
        name: model if folder is None else f"{model}+{_folder_hash(folder)}"
        for name, folder in own.items()
    }


def _folder_hash(folder: Path) -> str:
    """Over all weights under a folder, by name."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.safetensors")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n{short_hash(path)}\n".encode())
    return digest.hexdigest()[:_DIGITS]
