"""Sizes of the released models, for predictions without a download."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vap.cost import TransformerSize
from vap.hub import RELEASED
from vap.pipelines.defaults import GenerationDefaults
from vap.prompts import Family
from vap.shapes import Compression, PixelShape

# Tensors of one token's width alive at once at the peak of a block, both streams (estimate).
_LIVE_TENSORS = 12


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model and the video that it makes by default.

    Attributes:
        size: Its transformer.
        shape: Video in pixels.
        compression: Of VAE and patches.
        parameters: By component.
        steps: Denoising steps.
        guidance: Whether guidance is on.
    """

    size: TransformerSize
    shape: PixelShape
    compression: Compression
    parameters: dict[str, int]
    steps: int = 50
    guidance: bool = True

    @classmethod
    def from_folder(cls, folder: Path, family: Family, parameters: dict[str, int]) -> PlannedModel:
        """Read a pipeline folder's configuration."""
        transformer = _config(folder / "transformer" / "config.json")
        vae = _config(folder / "vae" / "config.json")
        stored = _config(folder / "model_index.json").get("generation_defaults") or {}
        native = GenerationDefaults(**stored)
        patch = transformer["patch_size"]
        return cls(
            TransformerSize.of(transformer, family),
            PixelShape(native.num_frames, native.height, native.width),
            Compression(
                vae.get("scale_factor_temporal", 4),
                vae.get("scale_factor_spatial", 8),
                tuple(patch) if isinstance(patch, list) else (1, patch, patch),
            ),
            parameters,
            native.num_inference_steps,
            native.guidance_scale > 1,
        )

    def working_bytes(self, element: int) -> float:
        """Activations at the peak of denoising."""
        tokens = 2 * self.compression.tokens(self.shape)
        per_token = _LIVE_TENSORS * self.size.width + self.size.feed_forward
        return tokens * per_token * element


def _config(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


RELEASED_MODELS = {
    RELEASED["wan"]: PlannedModel(
        size=TransformerSize("wan", 40, 10, 5120, 13824, image_tokens=257),
        shape=PixelShape(49, 480, 832),
        compression=Compression(4, 8, (1, 2, 2)),
        parameters={
            "transformer": 20_700_000_000,
            "text_encoder": 5_680_000_000,
            "image_encoder": 632_000_000,
            "vae": 127_000_000,
        },
    ),
    RELEASED["cogvideox"]: PlannedModel(
        size=TransformerSize("cogvideox", 42, 41, 3072, 12288),
        shape=PixelShape(49, 480, 720),
        compression=Compression(4, 8, (1, 2, 2)),
        parameters={
            "transformer": 11_100_000_000,
            "text_encoder": 4_760_000_000,
            "vae": 216_000_000,
        },
    ),
}
