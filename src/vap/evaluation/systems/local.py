"""What the videos of models on this machine depend on."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

_DIGITS = 16
_LIBRARIES = ("torch", "diffusers", "transformers")


def local_identity(model: str, files: Iterable[Path] = ()) -> dict[str, Any]:
    """Hashes of a model's weights and of further files, and versions of libraries. JSON values.

    A model that is on the Hub alone is downloaded.
    """
    from vap.files.names import full_name, resolve_folder
    from vap.files.weights import weights_hash

    return {
        "model": Path(full_name(model)).name,
        "weights": weights_hash(resolve_folder(model))[:_DIGITS],
        "files": [file_digest(path) for path in files],
        "versions": {name: version(name) for name in _LIBRARIES},
        "machine": platform.machine(),
    }


def file_digest(path: Path) -> str:
    """The start of a digest of a file's bytes; of weights, of its header and samples."""
    from vap.files.weights import sampled_digest
    from vap.media.files import hash_file

    if path.suffix == ".safetensors":
        return sampled_digest(path).hex()[:_DIGITS]
    return hash_file(path)[:_DIGITS]
