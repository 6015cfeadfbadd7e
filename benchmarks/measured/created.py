"""Components of a folder without weights, made on the device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.measured.weights import create_on, fill_module


def create_components(
    folder: Path, family: str, transformer_class: Any, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """Make all that has weights, in the precisions of the release.

    Args:
        folder: Pipeline folder, of which the configurations are read.
        family: ``wan`` or ``cogvideox``.
        transformer_class: Of the system that is measured.
        dtype: Of the transformer and text encoder; also of CogVideoX's VAE. Wan's VAE and image
            encoder are in float32.
        device: Where to make them.
    """
    import diffusers
    import transformers

    wan = family == "wan"
    vae_class = diffusers.AutoencoderKLWan if wan else diffusers.AutoencoderKLCogVideoX
    components: dict[str, Any] = {
        "transformer": create_on(
            device,
            dtype,
            transformer_class,
            json.loads((folder / "transformer" / "config.json").read_text()),
            transformer_class._keep_in_fp32_modules or (),
        ),
        "vae": create_on(
            device,
            torch.float32 if wan else dtype,
            vae_class,
            json.loads((folder / "vae" / "config.json").read_text()),
        ),
    }
    text_class = transformers.UMT5EncoderModel if wan else transformers.T5EncoderModel
    encoders = {"text_encoder": (text_class, dtype)}
    if wan:
        encoders["image_encoder"] = (transformers.CLIPVisionModel, torch.float32)
    for name, (model_class, precision) in encoders.items():
        config = model_class.config_class.from_pretrained(folder / name)
        with torch.device(device):
            model = model_class(config)
        components[name] = fill_module(model.to(precision))
    return components
