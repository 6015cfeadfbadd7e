"""A denoising step without weights or data, as the pipelines set it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from vap.cost.model import PlannedModel
from vap.pipelines.base import pipeline_class
from vap.pipelines.denoise import StepWork
from vap.pipelines.denoiser import Guidance
from vap.shapes import LatentShape, PixelShape

_META = torch.device("meta")
_GUIDANCE = 5.0
_WAN_TEXT, _COGVIDEOX_TEXT = 512, 226
_WAN_IMAGE = 257


def weightless_transformer(model: PlannedModel, dtype: torch.dtype) -> Any:
    """The transformer of a model on the meta device, in some precision."""
    config = {key: value for key, value in model.transformer.items() if not key.startswith("_")}
    with _META:
        transformer = pipeline_class(model.family).transformer_class(**config)
    for parameter in transformer.parameters():
        parameter.data = parameter.data.to(dtype)
    return transformer.eval()


def denoising_step(
    model: PlannedModel,
    transformer: Any,
    shape: PixelShape,
    *,
    guidance: bool,
    references: int,
    dtype: torch.dtype,
    keep: bool,
    keep_references: bool = False,
    device: torch.device = _META,
) -> Callable[[], torch.Tensor]:
    """One guided prediction for a video, ready to run; what it keeps, it keeps for the next."""
    made = _wan if model.family == "wan" else _cogvideox
    latent = model.compression.latent(shape, _latent_channels(model))
    scale = Guidance(_GUIDANCE if guidance else 1.0)
    with device:
        denoiser, latents = made(transformer, latent, scale, references, dtype)
        timestep = torch.zeros(())
    denoiser.keep = keep
    work = StepWork(references="record" if keep_references else "run")
    return lambda: denoiser.predict(latents, timestep, work)


def _latent_channels(model: PlannedModel) -> int:
    return int(model.transformer.get("out_channels", 16))


def _wan(
    transformer: Any, latent: LatentShape, guidance: Guidance, references: int, dtype: torch.dtype
) -> tuple[Any, torch.Tensor]:
    from vap.pipelines.wan_denoiser import WanConditions, WanDenoiser, WanReference

    config = transformer.config
    grid = (latent.frames, latent.height, latent.width)

    def tensor(*size: int) -> torch.Tensor:
        return torch.empty(size, dtype=dtype)

    text = (_WAN_TEXT, config.text_dim)
    image = None if config.image_dim is None else (_WAN_IMAGE, config.image_dim)
    conditions = WanConditions(
        text=tensor(1, *text),
        negative_text=tensor(1, *text) if guidance.enabled else None,
        image=None if image is None else tensor(1, *image),
        latents=tensor(1, config.in_channels - latent.channels, *grid),
    )
    reference = WanReference(
        latents=tensor(1, references, config.in_channels, *grid),
        text=tensor(1, references, *text),
        image=None if image is None else tensor(1, references, *image),
    )
    denoiser = WanDenoiser(transformer, conditions, reference if references else None, guidance)
    return denoiser, tensor(1, latent.channels, *grid).float()


def _cogvideox(
    transformer: Any, latent: LatentShape, guidance: Guidance, references: int, dtype: torch.dtype
) -> tuple[Any, torch.Tensor]:
    from vap.pipelines.cogvideox_denoiser import (
        CogVideoXConditions,
        CogVideoXDenoiser,
        CogVideoXReference,
    )

    config = transformer.config
    patch = config.patch_size_t or 1
    frames = -(-latent.frames // patch) * patch
    rotary, reference_rotary = transformer.rotary_tables(
        (frames, latent.height, latent.width), references, torch.get_default_device()
    )

    def tensor(*size: int) -> torch.Tensor:
        return torch.empty(size, dtype=dtype)

    def clip(channels: int) -> tuple[int, ...]:
        return (frames, channels, latent.height, latent.width)

    text = (_COGVIDEOX_TEXT, config.text_embed_dim)
    conditions = CogVideoXConditions(
        text=tensor(1, *text),
        negative_text=tensor(1, *text) if guidance.enabled else None,
        latents=tensor(1, *clip(config.in_channels - latent.channels)),
        rotary=rotary,
        ofs=None if config.ofs_embed_dim is None else tensor(1),
        scale_input=lambda latents, _: latents,
    )
    reference = CogVideoXReference(
        latents=tensor(1, references, *clip(config.in_channels)),
        text=tensor(1, references, *text),
        rotary=reference_rotary,
    )
    denoiser = CogVideoXDenoiser(
        transformer, conditions, reference if references else None, guidance
    )
    return denoiser, tensor(1, *clip(latent.channels))
