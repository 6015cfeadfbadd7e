"""The golden CogVideoX checkpoint and its inputs, as the model tests use them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel

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


def without_reference(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if not name.startswith("reference_")}


@torch.no_grad()
def predict(model: torch.nn.Module, arguments: dict[str, Any], **changes: Any) -> torch.Tensor:
    return model(**{**arguments, **changes}).sample


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())
