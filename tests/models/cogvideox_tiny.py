"""The golden CogVideoX checkpoint and its inputs, as the model tests use them."""

from pathlib import Path
from typing import Any

import torch
from predictions import predict, relative_error, without_reference
from safetensors.torch import load_file

from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel

__all__ = [
    "FOLDER",
    "SIZE",
    "golden_case",
    "golden_model",
    "golden_tensors",
    "predict",
    "relative_error",
    "without_reference",
]

FOLDER = Path(__file__).parents[1] / "golden" / "cogvideox"
SIZE = (3, 6, 8)


def golden_model() -> CogVideoXVideoAsPromptTransformer3DModel:
    return CogVideoXVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER, subfolder="transformer"
    ).eval()


def golden_case(references: int) -> tuple[dict[str, Any], torch.Tensor]:
    """Arguments of forward with this many references, and the released model's output."""
    case = golden_tensors()
    prefix = f"transformer.{references}ref."
    latents = case[prefix + "in.hidden_states_mot_ref"]
    text = case[prefix + "in.encoder_hidden_states_mot_ref"]
    arguments = {
        "hidden_states": case[prefix + "in.hidden_states"],
        "encoder_hidden_states": case[prefix + "in.encoder_hidden_states"],
        "timestep": case[prefix + "in.timestep"],
        "image_rotary_emb": (case["rope_cos"], case["rope_sin"]),
        "reference_hidden_states": latents.unflatten(1, (references, -1)),
        "reference_encoder_hidden_states": text.unflatten(1, (references, -1)),
        "reference_rotary_emb": (case[prefix + "rope_cos"], case[prefix + "rope_sin"]),
    }
    return arguments, case[prefix + "out"]


def golden_tensors() -> dict[str, torch.Tensor]:
    return load_file(FOLDER / "expected.safetensors")
