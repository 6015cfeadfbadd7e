"""The golden checkpoints as pipelines, with their inputs and the released model's outputs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import cpu_offload_with_hook
from safetensors.torch import load_file

import vap
from vap.pipelines.video_prompt import VideoPrompt

FOLDER = Path(__file__).parents[1] / "golden"
FAMILIES = ("wan", "cogvideox")
_ENCODED: dict[str, VideoPrompt] = {}


@dataclass(frozen=True)
class Golden:
    """One checkpoint.

    A call is short (2 steps) unless a test is about the released outputs.
    """

    family: str
    pipeline: Any
    settings: dict[str, Any]
    inputs: dict[str, np.ndarray]
    expected: dict[str, torch.Tensor]

    @property
    def folder(self) -> Path:
        return FOLDER / self.family

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(3)

    def alone(self, **changes: Any) -> dict[str, Any]:
        """Arguments of a call without a reference."""
        arguments = {
            "image": self.inputs["image"],
            "prompt": self.settings["prompt"],
            "negative_prompt": self.settings["negative_prompt"],
            "height": 48,
            "width": 64,
            "num_frames": 9,
            "num_inference_steps": 2,
            "guidance_scale": self.settings["guidance_scale"],
            "latents": self.expected["pipeline.in.latents"],
            "generator": self.generator(),
            "output_type": "latent",
            "fit": "stretch",  # as the release and the stock pipelines do
        }
        return {**arguments, **changes}

    def prompted(self, **changes: Any) -> dict[str, Any]:
        """Arguments of a call with the golden reference."""
        return self.alone(
            **{
                "reference_videos": self.inputs["reference"],
                "reference_prompts": self.settings["reference_prompts"],
                **changes,
            }
        )

    def encoded(self, **changes: Any) -> dict[str, Any]:
        """The same with the reference encoded once, for tests that are not about encoding."""
        if self.family not in _ENCODED:
            _ENCODED[self.family] = self.pipeline.encode_video_prompt(
                self.inputs["reference"],
                self.settings["reference_prompts"],
                height=48,
                width=64,
                num_frames=9,
                fit="stretch",
            )
        return self.alone(video_prompt=_ENCODED[self.family], **changes)

    def run(self, arguments: dict[str, Any], pipeline: Any = None) -> Any:
        return (pipeline or self.pipeline)(**arguments).frames


def load(family: str, **options: Any) -> Any:
    """A fresh pipeline, for tests that change it."""
    pipeline = vap.load_pipeline(FOLDER / family, device="cpu", **options)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def wait(pipeline: Any, device: str) -> Any:
    """A pipeline's weights in main memory until they are used on a device that need not be here.

    As ``enable_model_cpu_offload`` has it, which asks for the device itself.
    """
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            cpu_offload_with_hook(component, device)
    return pipeline


def golden(family: str) -> Golden:
    folder = FOLDER / family
    with np.load(folder / "inputs.npz") as stored:
        inputs = {name: stored[name] for name in stored.files}
    return Golden(
        family,
        load(family),
        json.loads((folder / "expected.json").read_text()),
        inputs,
        load_file(folder / "expected.safetensors"),
    )


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())
