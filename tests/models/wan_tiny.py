"""The golden Wan checkpoint and its inputs, as the model tests use them."""

import inspect
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file

from vap.models.wan import WanVideoAsPromptTransformer3DModel

FOLDER = Path(__file__).parents[1] / "golden" / "wan"
TOKENS = 36


def golden_model() -> WanVideoAsPromptTransformer3DModel:
    return WanVideoAsPromptTransformer3DModel.from_pretrained(
        FOLDER, subfolder="transformer"
    ).eval()


def golden_case() -> tuple[dict[str, Any], torch.Tensor]:
    """Arguments of forward with one reference, and the released model's output."""
    case = load_file(FOLDER / "expected.safetensors")
    prefix = "transformer.in."
    arguments = {
        name.removeprefix(prefix): tensor
        for name, tensor in case.items()
        if name.startswith(prefix)
    }
    for name in [name for name in arguments if name.endswith("_mot_ref")]:
        tensor = arguments.pop(name)
        reference = name.removesuffix("_mot_ref")
        arguments[f"reference_{reference}"] = (
            tensor if reference == "timestep" else tensor.unsqueeze(1)
        )
    return arguments, case["transformer.out"]


def two_references() -> dict[str, Any]:
    """The golden case with a second, different reference."""
    arguments, _ = golden_case()
    generator = torch.Generator().manual_seed(0)
    for name in ("hidden_states", "encoder_hidden_states", "encoder_hidden_states_image"):
        first = arguments[f"reference_{name}"]
        second = torch.randn(first.shape, generator=generator)
        arguments[f"reference_{name}"] = torch.cat([first, second], dim=1)
    return arguments


def stock_twin(model: WanVideoAsPromptTransformer3DModel) -> WanTransformer3DModel:
    """A stock diffusers model with the same backbone weights."""
    known = inspect.signature(WanTransformer3DModel.__init__).parameters
    twin = WanTransformer3DModel(**{k: v for k, v in model.config.items() if k in known})
    twin.load_state_dict({k: v for k, v in model.state_dict().items() if "_mot_ref" not in k})
    return twin.eval()
