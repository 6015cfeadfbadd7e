"""Time and memory of one generation on a device under a memory plan, predicted.

Weights and what is alive beside them are counted (:mod:`vap.cost.footprint`); times are operations
over the device's rate, or bytes over its link where weights stream in and that takes longer. What
is not counted is estimated by the constants below.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from vap.acceleration.plan import MEMORY_SHARE, OVERHEAD, MemoryPlan
from vap.cost.arithmetic import generation_cost
from vap.cost.devices import DeviceSpec
from vap.cost.footprint import Footprint, Video
from vap.cost.model import PlannedModel
from vap.shapes import TEXT_TOKENS, Family

# A CUDA context with its libraries; a Python process with torch and diffusers.
_CUDA_BYTES, _PROCESS_BYTES = 600_000_000, 700_000_000
# An allocator takes more than is alive.
_FRAGMENTATION = 1.08
# Convolutions of a VAE reach less of a device's rate than a transformer's matrix products.
_CONVOLUTION_EFFICIENCY = 0.3
# Quantized weights are converted before every product.
_CONVERTING_TIME = 1.05
# What no step changes, computed at every step.
_RECOMPUTING_TIME = 1.02
# Copies of memory that is not pinned reach about a third of the link.
_PAGEABLE = 1 / 3


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one generation takes: seconds by stage, bytes at the peak."""

    plan: MemoryPlan
    encode: float
    denoise: float
    decode: float
    device_bytes: float
    host_bytes: float

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return self.encode + self.denoise + self.decode


def predict(
    model: PlannedModel,
    traced: Footprint,
    video: Video,
    device: DeviceSpec,
    plan: MemoryPlan,
    dtype: torch.dtype,
) -> Prediction:
    """Predict one generation."""
    placed = _Placed(model.family, traced, plan, dtype, on_cpu=device.is_cpu)
    own = _PROCESS_BYTES if device.is_cpu else _CUDA_BYTES
    return Prediction(
        plan,
        _encode_seconds(model, traced, video, device, plan, dtype),
        _denoise_seconds(model, placed, video, device, plan, dtype),
        _coding_seconds(model, traced.decode.flop, device, plan, dtype),
        own + placed.peak(),
        0.0 if device.is_cpu else placed.host(),
    )


def denoising_bytes(
    model: PlannedModel, traced: Footprint, plan: MemoryPlan, dtype: torch.dtype = torch.bfloat16
) -> float:
    """Weights of the transformer and what a step needs beside them, on an accelerator."""
    placed = _Placed(model.family, traced, plan, dtype, on_cpu=False)
    return placed.transformer() + placed.denoising()


@dataclass(frozen=True, slots=True)
class _Placed:
    """Bytes on the device, stage by stage."""

    family: Family
    traced: Footprint
    plan: MemoryPlan
    dtype: torch.dtype
    on_cpu: bool

    def peak(self) -> float:
        """The largest stage."""
        traced = self.traced
        tiled = MEMORY_SHARE[self.family] if self.plan.tiling else 1.0
        encode, decode = (stage.peak_bytes * tiled for stage in (traced.encode, traced.decode))
        return max(
            self._text() + self._resident("text") + traced.text_working,
            self._resident("vae") + self._left() + encode * _FRAGMENTATION,
            self._resident("transformer") + self.denoising() * _FRAGMENTATION,
            self._resident("vae") + decode * _FRAGMENTATION,
        )

    def denoising(self) -> float:
        """What a step needs beside weights."""
        kept = self.plan.keep_constants
        return self.traced.denoising if kept else self.traced.bare_denoising

    def transformer(self) -> float:
        """The transformer's weights while it works."""
        blocks, rest = self.blocks(), float(self.traced.rest)
        if self.plan.offload == "group":
            return rest + max(blocks[0::2], default=0.0) + max(blocks[1::2], default=0.0)
        if self.plan.offload == "sequential":
            return float(self.traced.leaf)
        return rest + sum(blocks)

    def blocks(self) -> list[float]:
        """Weights of each block in the plan's precision."""
        traced, saved = self.traced, 0.0
        if self.plan.quantize is not None:
            saved = 1 - 1 / self.dtype.itemsize
        return [
            block - saved * narrowable
            for block, narrowable in zip(traced.blocks, traced.narrowable, strict=True)
        ]

    def host(self) -> float:
        """Weights that wait in main memory."""
        traced = self.traced
        if self.plan.offload is None:
            return 0.0
        waiting = traced.image_encoder + traced.vae + sum(self.blocks())
        # Elsewhere the text encoder is read from its files, layer by layer.
        return (
            waiting if self.plan.offload == "group" else waiting + traced.text_encoder + traced.rest
        )

    def _resident(self, working: str) -> float:
        """Weights on the device while a component works, the text encoder's own left out."""
        traced, plan = self.traced, self.plan
        if plan.offload in {"model", "sequential"}:
            parts = {
                "transformer": self.transformer(),
                "vae": float(traced.vae),
                "text": float(traced.image_encoder),
            }
            # The VAE, once there to encode, stays until the call ends: it is last in the row.
            stays = plan.offload == "model" and working != "vae"
            return parts[working] + (traced.vae if stays else 0)
        if plan.offload is None:
            placed = self.transformer() + traced.vae + traced.image_encoder
        else:
            # Places of the blocks that stream in, or the VAE.
            placed = self.transformer() if working == "transformer" else float(traced.rest)
            placed += traced.vae if working == "vae" else 0
        if plan.text_encoder == "resident" and working != "text":
            placed += traced.text_encoder
        return placed

    def _left(self) -> float:
        """The encoder that is still there while the VAE encodes: its successor sends it away."""
        if self.plan.offload != "model":
            return 0.0
        return float(self.traced.image_encoder or self.traced.text_encoder)

    def _text(self) -> float:
        """The text encoder's weights while it works."""
        offloaded = self.plan.text_encoder == "offload" and not self.on_cpu
        if offloaded and self.plan.offload != "model":
            return float(self.traced.encoder_leaf)
        return float(self.traced.text_encoder)


def _denoise_seconds(
    model: PlannedModel,
    placed: _Placed,
    video: Video,
    device: DeviceSpec,
    plan: MemoryPlan,
    dtype: torch.dtype,
) -> float:
    cost = generation_cost(
        model.size,
        video.shape,
        model.compression,
        steps=video.steps,
        guidance=video.guidance,
        references=video.references,
        reference_guidance=video.reference_guidance,
    )
    computing = cost.flop / device.rate(_precision(dtype))
    if plan.quantize is not None:
        computing *= _CONVERTING_TIME
    if not plan.keep_constants:
        computing *= _RECOMPUTING_TIME
    if device.host_link is None or plan.offload is None:
        return computing
    weights = sum(placed.blocks())
    if plan.offload == "model":
        # In before the first step and out after the last.
        return computing + 2 * weights / (device.host_link * _PAGEABLE)
    # A batch of both passes, as CogVideoX runs them, reads the weights once.
    apart = video.guidance and model.family == "wan"
    passes = video.steps * (1 + apart + video.reference_guidance)
    if plan.offload == "group":
        return max(computing, passes * weights / device.host_link)
    return computing + passes * weights / (device.host_link * _PAGEABLE)


def _encode_seconds(
    model: PlannedModel,
    traced: Footprint,
    video: Video,
    device: DeviceSpec,
    plan: MemoryPlan,
    dtype: torch.dtype,
) -> float:
    """Texts of target, references and guidance; clips of the references, and the conditions."""
    texts = 1 + video.references + (1 if video.guidance else 0)
    tokens = texts * TEXT_TOKENS[model.family]
    text = 2.0 * model.parameters.get("text_encoder", 0) * tokens / device.rate(_precision(dtype))
    if device.host_link is not None and plan.text_encoder == "offload":
        # Read for every text; from the system's copy of the files, or else at the disk's rate.
        text += texts * traced.text_encoder / (device.host_link * _PAGEABLE)
    # Of the conditions, only the first frames differ from nothing.
    clips = video.references + (1 + video.references) / max(1, video.shape.frames // 8)
    return text + clips * _coding_seconds(model, traced.encode.flop, device, plan, dtype)


def _coding_seconds(
    model: PlannedModel, flop: float, device: DeviceSpec, plan: MemoryPlan, dtype: torch.dtype
) -> float:
    precision = "float32" if model.family == "wan" else _precision(dtype)
    overhead = OVERHEAD[model.family] if plan.tiling else 1.0
    return flop * overhead / (device.rate(precision) * _CONVOLUTION_EFFICIENCY)


def _precision(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
