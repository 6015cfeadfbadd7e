"""Bytes and operations of a model's parts at one video size, traced from its own code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from vap.acceleration.plan import WantedVideo
from vap.cost.model import PlannedModel
from vap.cost.trace import Trace, trace
from vap.shapes import PixelShape

_META = torch.device("meta")
# Latent frames at which a VAE is traced; every further one takes the same operations.
_TRACED_FRAMES = {"wan": (2, 3), "cogvideox": (3, 5)}
# Bytes that a text encoder works with, of those of its weights (estimate).
_TEXT_WORKSPACE = 0.03


@dataclass(frozen=True, slots=True)
class Video:
    """What is generated."""

    shape: PixelShape
    steps: int = 50
    guidance: bool = True
    references: int = 1
    reference_guidance: bool = False

    @classmethod
    def native(cls, model: PlannedModel, wanted: WantedVideo | None = None) -> Video:
        """The model's default video with one reference, or the requested one."""
        wanted, shape = wanted or WantedVideo(), model.shape
        shape = PixelShape(
            wanted.num_frames or shape.frames,
            wanted.height or shape.height,
            wanted.width or shape.width,
        )
        model.compression.check(shape)
        return cls(shape, model.steps, model.guidance, wanted.references, model.reference_guidance)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of a model's parts, and the VAE's operations.

    ``denoising`` is what a step needs beside weights, with what is kept for the next, and
    ``bare_denoising`` the same if nothing is kept.
    """

    blocks: tuple[int, ...]
    narrowable: tuple[int, ...]
    rest: int
    leaf: int
    text_encoder: int
    image_encoder: int
    encoder_leaf: int
    vae: int
    denoising: float
    bare_denoising: float
    encode: Trace
    decode: Trace

    @property
    def transformer(self) -> int:
        """All weights of the transformer."""
        return sum(self.blocks) + self.rest

    @property
    def text_working(self) -> float:
        """What the text encoder works with."""
        return _TEXT_WORKSPACE * self.text_encoder

    @property
    def weights(self) -> int:
        """Of all components."""
        return self.transformer + self.text_encoder + self.image_encoder + self.vae


def traced_footprint(
    model: PlannedModel, video: Video, dtype: torch.dtype, *, keep_references: bool = False
) -> Footprint:
    """Trace a model at a video size, its VAE taking the whole picture at once."""
    from vap.acceleration.quantize import quantizable_bytes
    from vap.cost.denoiser import weightless_transformer

    transformer = weightless_transformer(model, dtype)
    blocks = tuple(_bytes(block) for block in transformer.expert_blocks)
    width = dtype.itemsize
    spared = 4 if model.family == "wan" else width
    vae = weightless_vae(model, torch.float32 if model.family == "wan" else dtype)
    return Footprint(
        blocks=blocks,
        narrowable=tuple(quantizable_bytes(block) for block in transformer.expert_blocks),
        rest=_bytes(transformer) - sum(blocks),
        leaf=max(parameter.nbytes for parameter in transformer.parameters()),
        text_encoder=model.parameters.get("text_encoder", 0) * width,
        image_encoder=model.parameters.get("image_encoder", 0) * spared,
        encoder_leaf=model.largest_encoder_weight * width,
        vae=_bytes(vae),
        denoising=_denoising_bytes(
            model, transformer, video, dtype, keep=True, keep_references=keep_references
        ),
        bare_denoising=_denoising_bytes(model, transformer, video, dtype, keep=False),
        encode=coding(model, vae, video.shape, "encode"),
        decode=coding(model, vae, video.shape, "decode"),
    )


def weightless_vae(model: PlannedModel, dtype: torch.dtype) -> Any:
    """The VAE of a model on the meta device."""
    from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

    kind = AutoencoderKLWan if model.family == "wan" else AutoencoderKLCogVideoX
    with _META:
        vae = kind.from_config(dict(model.vae)).eval()
    for parameter in vae.parameters():
        parameter.data = parameter.data.to(dtype)
    return vae


def coding(
    model: PlannedModel, vae: Any, shape: PixelShape, direction: Literal["encode", "decode"]
) -> Trace:
    """Bytes and operations of one direction of a VAE, traced at a few frames.

    From there it grows with each frame.
    """
    frames = model.compression.latent(shape, 1).frames
    few, more = _TRACED_FRAMES[model.family]
    if frames <= more:
        return _coding(model, vae, shape, direction, frames)
    first, second = (_coding(model, vae, shape, direction, count) for count in (few, more))
    further = frames - more
    # Pieces of the result are put together at the end: for a moment there are two of each.
    pixels = 3 * model.compression.temporal * shape.height * shape.width
    return Trace(
        second.peak_bytes + 2 * further * pixels * vae.dtype.itemsize,
        second.flop + further * (second.flop - first.flop) / (more - few),
    )


def _coding(model: PlannedModel, vae: Any, shape: PixelShape, direction: str, frames: int) -> Trace:
    """Trace one direction of a VAE at so many latent frames."""
    clip = replace(shape, frames=1 + (frames - 1) * model.compression.temporal)
    channels = vae.config.get("z_dim") or vae.config.latent_channels
    latent = model.compression.latent(clip, channels)
    sizes = {
        "encode": (1, 3, clip.frames, clip.height, clip.width),
        "decode": (1, channels, latent.frames, latent.height, latent.width),
    }

    def run() -> Any:
        return getattr(vae, direction)(torch.empty(sizes[direction], dtype=vae.dtype, device=_META))

    return trace(run, [vae], count_operations=True)


def _denoising_bytes(
    model: PlannedModel,
    transformer: Any,
    video: Video,
    dtype: torch.dtype,
    *,
    keep: bool,
    keep_references: bool = False,
) -> float:
    """Trace one step at full depth: what is kept for every block counts as well."""
    from vap.cost.denoiser import denoising_step

    step = denoising_step(
        model,
        transformer,
        video.shape,
        guidance=video.guidance,
        references=video.references if transformer.expert_depths else 0,
        dtype=dtype,
        keep=keep,
        keep_references=keep_references,
    )
    return trace(step, [transformer]).peak_bytes


def _bytes(module: torch.nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())
