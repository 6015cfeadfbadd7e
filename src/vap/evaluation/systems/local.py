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
    """Return what a model and further files are, and versions of libraries. JSON values.

    A model that is on the Hub alone is downloaded.
    """
    from vap.files.folders import generation_defaults_of
    from vap.files.names import resolve_folder
    from vap.files.weights import weights_hash

    place = resolve_folder(model)
    return {
        "weights": weights_hash(place)[:_DIGITS],
        "defaults": generation_defaults_of(place),
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
