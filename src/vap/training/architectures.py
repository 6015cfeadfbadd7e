"""Transformers of the full-size models, for plans without a download."""

from __future__ import annotations

from typing import Any

import torch

from vap.files.folders import RELEASED, read_json
from vap.files.hub import resolve_folder
from vap.pipelines.registry import pipeline_class
from vap.shapes import Family

_WAN: dict[str, Any] = {"image_dim": 1280, "added_kv_proj_dim": 5120}
_WAN_DEPTHS = list(range(0, 40, 4))
_COGVIDEOX: dict[str, Any] = {
    "num_attention_heads": 48,
    "in_channels": 32,
    "num_layers": 42,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": True,
}
_COGVIDEOX_DEPTHS = list(range(41))

KNOWN: dict[str, tuple[Family, dict[str, Any]]] = {
    "Wan-AI/Wan2.1-I2V-14B-480P-Diffusers": ("wan", _WAN),
    "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers": ("wan", _WAN),
    "THUDM/CogVideoX-5b-I2V": ("cogvideox", _COGVIDEOX),
    "zai-org/CogVideoX-5b-I2V": ("cogvideox", _COGVIDEOX),
    RELEASED["wan"]: ("wan", {**_WAN, "block_idx_with_mot_ref": _WAN_DEPTHS}),
    RELEASED["cogvideox"]: (
        "cogvideox",
        {**_COGVIDEOX, "block_idx_with_mot_ref": _COGVIDEOX_DEPTHS},
    ),
}


def weightless(model: str) -> tuple[Family, Any]:
    """The family and the transformer of a model, without memory for its weights."""
    if model in KNOWN:
        family, config = KNOWN[model]
    else:
        from vap.files.folders import family_of

        folder = resolve_folder(model)
        family = family_of(folder)
        config = read_json(folder / "transformer" / "config.json")
    with torch.device("meta"):
        return family, pipeline_class(family).transformer_class.from_config(config)
