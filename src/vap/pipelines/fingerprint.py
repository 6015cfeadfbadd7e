"""Which encoders made a video prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from vap.files.reading import reading
from vap.shapes import Family

_ENCODERS = ("vae", "text_encoder", "image_encoder")
_VALUES = 4096


def fingerprint(family: Family, configs: Sequence[Mapping[str, Any] | None], weights: bytes) -> str:
    """Hash of encoders."""
    digest = hashlib.sha256(family.encode())
    for config in configs:
        digest.update(json.dumps(_identity(config or {}), sort_keys=True, default=str).encode())
    digest.update(weights)
    return digest.hexdigest()[:16]


def sampled_weights(vae: torch.nn.Module) -> bytes:
    """The first weights and the last of a VAE, rounded to bfloat16.

    So a model that is loaded in bfloat16 is the one that is loaded in float32. In float16 it is
    another: what was rounded to that before does not round to the same bfloat16.
    """
    parameters = list(vae.parameters())
    samples = []
    for parameter in (parameters[0], parameters[-1]):
        values = parameter.detach().flatten()[:_VALUES]
        rounded = values.to("cpu", torch.bfloat16).contiguous()
        samples.append(rounded.view(torch.uint8).numpy().tobytes())
    return b"".join(samples)


def encoder_configs(pipeline: Any) -> list[Mapping[str, Any] | None]:
    """Configurations of a pipeline's VAE, text and image encoder."""
    return [_config(pipeline, name) for name in _ENCODERS]


def _config(pipeline: Any, name: str) -> Mapping[str, Any] | None:
    encoder = getattr(pipeline, name, None)
    if encoder is not None:
        config: Any = getattr(encoder, "config", None)
        return config.to_dict() if hasattr(config, "to_dict") else dict(config or {})
    reads_images = getattr(pipeline.transformer.config, "image_dim", None) is not None
    if name == "image_encoder" and not reads_images:
        return {}
    folder = pipeline.name_or_path
    if not folder or not Path(folder, name, "config.json").is_file():
        return None
    with reading(Path(folder, name)):
        return AutoConfig.from_pretrained(Path(folder, name)).to_dict()


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a component's configuration decides its outputs."""
    volatile = ("dtype", "torch_dtype", "transformers_version", "architectures")
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in volatile}
