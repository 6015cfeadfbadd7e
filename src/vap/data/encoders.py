"""The encoders of a pipeline without its transformer, which encoding does not need."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from vap.hub import family_of, load_pipeline, pipeline_class, resolve_folder
from vap.weights import sampled_digest

_ENCODERS = ("vae", "text_encoder", "image_encoder", "tokenizer", "image_processor")


def load_encoders(model: str, device: str | None = None) -> Any:
    """Load a pipeline whose transformer has the right configuration and next to no weights.

    Args:
        model: Pipeline folder, bundled model or Hub id.
        device: Where to compute; the accelerator or the CPU by default.
    """
    kind = pipeline_class(family_of(resolve_folder(model)))
    stand_in = _stand_in(kind.transformer_class, resolve_folder(model))
    return load_pipeline(model, device=device, transformer=stand_in)


def encoders_identity(model: str) -> dict[str, Any]:
    """What tells one model's encodings from another's, read without loading weights.

    Returns:
        The family, and a hash of the encoders' configurations and of samples of their weights.
    """
    folder = resolve_folder(model)
    digest = hashlib.sha256()
    for component in _ENCODERS:
        for path in sorted((folder / component).glob("*")):
            if path.suffix == ".json" and not path.name.endswith(".index.json"):
                digest.update(path.name.encode() + path.read_bytes())
            elif path.suffix == ".safetensors":
                digest.update(path.name.encode() + sampled_digest(path))
    return {"family": family_of(folder), "encoders": digest.hexdigest()}


def _stand_in(transformer_class: Any, folder: Path) -> Any:
    """A transformer of one narrow block with an expert: encoding only asks whether it has one."""
    config = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
    small = {"num_layers": 1, "num_attention_heads": 1, "block_idx_with_mot_ref": [0]}
    if "ffn_dim" in config:
        small["ffn_dim"] = 1
    return transformer_class.from_config(config | small)
