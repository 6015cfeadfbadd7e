"""PSNR of a video autoencoder on unseen scenes of VAP-Synth, beside the best linear one.

Run: ``python -m benchmarks.autoencoder FOLDER``: a folder of ``vae`` weights, or the output of a
``vae`` stage, of whose checkpoint the averaged weights count.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import load_file
from torch import Tensor

from vap.acceleration.whole_clips import use_whole_clips
from vap.mini.training.mini_recipe import RenderConfig
from vap.mini.training.stages.vae_stage import build_autoencoder, render_clips
from vap.synth import Split
from vap.training.recipe import load_recipe

_SPLITS: tuple[Split, ...] = ("seen", "heldout", "unknown")
_SEED, _TRAINING_CLIPS = 2026, 320
_AVERAGE = "average.vae."
_POWER = 4.0  # pixels span 2


def load(folder: Path, recipe: str) -> tuple[AutoencoderKLWan, str]:
    """The autoencoder of a folder, and how far it was trained."""
    checkpoint = folder / "checkpoint"
    if not checkpoint.is_dir():
        return AutoencoderKLWan.from_pretrained(folder).eval(), "weights"
    vae = build_autoencoder(load_recipe(Path(recipe)).model)
    tensors = load_file(checkpoint / "tensors.safetensors")
    averaged = {k.removeprefix(_AVERAGE): v for k, v in tensors.items() if k.startswith(_AVERAGE)}
    vae.load_state_dict(averaged)
    step = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))["step"]
    return vae.eval(), f"step {step}"


def blocks(clips: Tensor) -> Tensor:
    """Blocks ``[N, 768]`` of 4×8×8 pixels; first frames, which stand alone, are left out."""
    parts = clips[:, :, 1:].unflatten(2, (-1, 4)).unflatten(4, (-1, 8)).unflatten(6, (-1, 8))
    return parts.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(0, 3).flatten(1)


def linear_error(clips: Tensor, training: Tensor, channels: int) -> float:
    """Squared error of the best linear code (KLT) of so many channels."""
    mean = training.mean(dim=0)
    covariance = (training - mean).T @ (training - mean) / len(training)
    basis = torch.linalg.eigh(covariance.double())[1][:, -channels:].float()
    centered = blocks(clips) - mean
    return float((centered - centered @ basis @ basis.T).square().mean())


def main() -> None:
    """Print a line for each world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", default="vap-mini/second-1a-vae")
    parser.add_argument("--clips", type=int, default=48)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vae, state = load(arguments.folder, arguments.recipe)
    use_whole_clips(vae)
    for world, drawn in (("drawn", 1.0), ("full", 0.0)):
        render = RenderConfig(split="backbone", drawn=drawn)
        training = blocks(render_clips(render, 1, range(_TRAINING_CLIPS)))
        clips = torch.cat(
            [
                render_clips(RenderConfig(split=split, drawn=drawn), _SEED, range(count))
                for split in _SPLITS
                if (count := arguments.clips // len(_SPLITS))
            ]
        )
        with torch.no_grad():
            errors = [
                float((vae.decode(vae.encode(x).latent_dist.mode()).sample - x).square().mean())
                for x in clips.split(1)
            ]
        mean = sum(errors) / len(errors)
        each = sum(decibels(error) for error in errors) / len(errors)
        bound = decibels(linear_error(clips, training, vae.config.z_dim))
        print(
            f"{state}, {world} world, {len(clips)} clips: {decibels(mean):.2f} dB of the mean "
            f"error, {each:.2f} dB on average; linear bound {bound:.2f} dB"
        )


def decibels(error: float) -> float:
    """PSNR of a mean squared error."""
    return 10 * math.log10(_POWER / max(error, 1e-10))


if __name__ == "__main__":
    main()
