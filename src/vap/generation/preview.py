"""Previews of an emerging video: its latents as colors, without the VAE.

The map from latents to colors is linear and fitted to the start of a reference, which the VAE
decodes once. So it needs no table for each VAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vap.media.pixels import resize
from vap.pipelines.video_prompt import VideoPrompt

# Latents that are decoded, at least; the VAE takes long for all of a large video.
_DECODED = 4000


@dataclass(frozen=True, eq=False)
class LatentColors:
    """A linear map from the channels of latents to colors, ``[C + 1, 3]``."""

    weights: np.ndarray

    def frames(self, latents: torch.Tensor) -> np.ndarray:
        """Return latents ``[C, F, H, W]`` as frames ``[F, H, W, 3]`` (uint8)."""
        colors = _samples(latents) @ self.weights
        shape = (*latents.shape[1:], 3)
        return (colors.clip(0, 1) * 255).round().astype(np.uint8).reshape(shape)


def fit_colors(prompt: VideoPrompt, pipeline: Any) -> LatentColors:
    """Fit the map to the first reference of a pipeline's prompt."""
    latents = _reference_latents(prompt, pipeline)
    height, width = latents.shape[2:]
    # Two, because the first latent frame is of one pixel frame, and the others are of several.
    latents = latents[:, : max(2, -(-_DECODED // (height * width)))]
    clean = latents.transpose(0, 1) if prompt.family == "cogvideox" else latents
    (frames,) = pipeline.decode(pipeline.vae_latents(clean[None]))
    shown = (frames[:: pipeline.compression.temporal] * 255).round().astype(np.uint8)
    small = np.stack([resize(frame, (height, width)) for frame in shown])
    colors = small.reshape(-1, 3).astype(np.float32) / 255
    weights, *_ = np.linalg.lstsq(_samples(latents), colors)
    return LatentColors(weights)


def emerging(pipeline: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return the video ``[C, F, H, W]`` that the last step predicted, noise removed if known."""
    scheduler = pipeline.scheduler
    # Multistep schedulers keep the clean samples that they predicted.
    kept = getattr(scheduler, "model_outputs", None)
    clean = kept[-1] if kept and getattr(scheduler.config, "predict_x0", False) else None
    video = latents[0] if clean is None else clean[0]
    return video.transpose(0, 1) if pipeline.family == "cogvideox" else video


def _reference_latents(prompt: VideoPrompt, pipeline: Any) -> torch.Tensor:
    if prompt.family == "wan":
        return prompt.tensors["latents"][0]
    mean = prompt.tensors["video_moments"][0].chunk(2)[0]
    return mean * pipeline.vae.config.scaling_factor


def _samples(latents: torch.Tensor) -> np.ndarray:
    """Latents ``[C, …]`` as rows, with a constant: ``[N, C + 1]``."""
    rows = latents.detach().to("cpu", torch.float32).flatten(1).T.numpy()
    return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)
