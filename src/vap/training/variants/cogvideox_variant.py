"""How the CogVideoX variant trains: v-prediction, references clean at the target's timestep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from diffusers import CogVideoXDDIMScheduler
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor, nn

from vap.files.components import load_component
from vap.files.folders import read_json
from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.training.objectives.v_prediction import VPrediction
from vap.training.variants import Stream, Variant

# The offset that 1.5 image-to-video checkpoints were trained with.
_OFS = 2.0


class CogVideoXVariant(Variant):
    """v-prediction."""

    def __init__(
        self,
        alphas_bar: Tensor,
        scaling_factor: float,
        *,
        scale_images: bool = True,
        frames_per_patch: int = 1,
        has_offset: bool = False,
        rotary_tables: Callable[..., Any] | None = None,
    ) -> None:
        self.objective = VPrediction(alphas_bar)
        self._video_scale = scaling_factor
        self._image_scale = scaling_factor if scale_images else 1.0
        self._frames_per_patch = frames_per_patch
        self._has_offset = has_offset
        self._rotary_tables = rotary_tables

    @classmethod
    def of(cls, transformer: Any, folder: Path) -> Self:
        """Read schedule and scales off a pipeline folder."""
        scheduler = load_component(folder, "scheduler", CogVideoXDDIMScheduler)
        vae = read_json(folder / "vae" / "config.json")
        return cls(
            scheduler.alphas_cumprod,
            vae["scaling_factor"],
            # As released: where the VAE's configuration says so, image latents stay as they are.
            scale_images=not vae.get("invert_scale_latents", False),
            frames_per_patch=transformer.config.patch_size_t or 1,
            has_offset=transformer.config.ofs_embed_dim is not None,
            rotary_tables=transformer.rotary_tables,
        )

    def stream(self, encodings: Mapping[str, Tensor], generator: torch.Generator) -> Stream:
        """Sample the posteriors of videos and of first frames; frames go before channels."""
        video = self._video_scale * _sample(encodings["video_moments"], generator)
        frame = self._image_scale * _sample(encodings["frame_moments"], generator)
        extra = -video.shape[-4] % self._frames_per_patch
        first = video.narrow(-4, 0, 1)
        video = torch.cat([first] * extra + [video], dim=-4)
        size = list(frame.shape)
        size[-4] = video.shape[-4] - 1
        condition = torch.cat([frame, frame.new_zeros(size)], dim=-4)
        return Stream(video, condition, encodings["text"].to(generator.device), channels=-3)

    def schedule(self, scheduler: Any, steps: int) -> Tensor:
        """Timesteps from the last one down ("trailing"), then -1."""
        count = scheduler.config.num_train_timesteps
        return (torch.linspace(count, 0, steps + 1).round() - 1).long()

    def set_sampler(self, scheduler: Any, steps: int) -> Tensor:
        """Its timesteps, then -1."""
        scheduler.set_timesteps(steps)
        timesteps: Tensor = scheduler.timesteps
        return torch.cat([timesteps, timesteps.new_full((1,), -1)])

    def predict(
        self,
        model: nn.Module,
        noisy: Tensor,
        target: Stream,
        reference: Stream | None,
        level: Tensor,
        memory: GenerationMemory | None = None,
        step: StepMemory | None = None,
    ) -> Tensor:
        """The network's velocity."""
        timestep = level.clamp_min(0)
        conditions: dict[str, Any] = {}
        if reference is None and self._rotary_tables is not None:
            # Without references the transformer is the stock one, which is given its tables.
            size = (noisy.shape[1], *noisy.shape[3:])
            conditions["image_rotary_emb"] = self._rotary_tables(size, 0, noisy.device)[0]
        if reference is not None:
            conditions = {
                "reference_hidden_states": reference.clean,
                "reference_encoder_hidden_states": reference.text,
                "reference_timestep": timestep,
            }
        velocity: Tensor = model(
            target.beside_condition(noisy),
            target.text,
            timestep,
            ofs=noisy.new_full((1,), _OFS) if self._has_offset else None,
            **conditions,
            return_dict=False,
            memory=memory,
            step=step,
        )[0]
        return velocity.float()


def _sample(moments: Tensor, generator: torch.Generator) -> Tensor:
    """Sample posteriors ``[…, 2C, F, H, W]``: ``[…, F, C, H, W]``."""
    flat = moments.to(generator.device).flatten(0, -5)
    drawn = DiagonalGaussianDistribution(flat).sample(generator)
    return drawn.unflatten(0, moments.shape[:-4]).transpose(-3, -4)
