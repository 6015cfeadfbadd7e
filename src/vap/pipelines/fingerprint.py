"""Which encoders made a video prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch

from vap.prompts import Family

_VALUES = 4096


def fingerprint(family: Family, encoders: Sequence[Any]) -> str:
    """Hash of encoders: their configurations, and some weights of the first, the VAE.

    Weights are compared as bfloat16, so the precision that a model is loaded in is no part of
    its identity.
    """
    digest = hashlib.sha256(family.encode())
    for encoder in encoders:
        config: Any = getattr(encoder, "config", None)
        stored = config.to_dict() if hasattr(config, "to_dict") else dict(config or {})
        digest.update(json.dumps(_identity(stored), sort_keys=True, default=str).encode())
    parameters = list(encoders[0].parameters())
    for parameter in (parameters[0], parameters[-1]):
        values = parameter.detach().flatten()[:_VALUES]
        rounded = values.to("cpu", torch.bfloat16).contiguous()
        digest.update(rounded.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _identity(config: dict[str, Any]) -> dict[str, Any]:
    """What of a component's configuration decides its outputs."""
    volatile = ("dtype", "torch_dtype", "transformers_version", "architectures")
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in volatile}
