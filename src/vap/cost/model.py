"""A model for the cost model: configurations and sizes, no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vap.cost.arithmetic import TransformerSize, stored_parameters, stored_shapes
from vap.files.folders import (
    GenerationDefaults,
    compression_of,
    generation_defaults_of,
    native_video,
    read_json,
)
from vap.files.reading import reading
from vap.shapes import Compression, Family, PixelShape

_ENCODERS = ("text_encoder", "image_encoder")


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model and the video that it makes by default."""

    family: Family
    transformer: Mapping[str, Any] = field(repr=False)
    vae: Mapping[str, Any] = field(repr=False)
    parameters: Mapping[str, int]
    largest_encoder_weight: int
    shape: PixelShape
    steps: int = 50
    guidance: bool = True
    reference_guidance: bool = False
    scheduler: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_folder(cls, folder: Path, family: Family) -> PlannedModel:
        """Read a pipeline folder's configurations and the headers of its weights."""
        with reading(folder):
            native = GenerationDefaults(**generation_defaults_of(folder))
            transformer = read_json(folder / "transformer" / "config.json")
            largest = max(
                (size for name in _ENCODERS for size in stored_shapes(folder / name)), default=0
            )
            planned = cls(
                family,
                transformer,
                read_json(folder / "vae" / "config.json"),
                stored_parameters(folder),
                largest,
                native_video(folder, family)[0],
                native.num_inference_steps,
                native.guidance_scale > 1,
                native.reference_guidance_scale > 1,
            )
            _ = planned.size, planned.compression  # what fails is about the folder
        return planned

    def with_expert(self, depths: Sequence[int]) -> PlannedModel:
        """The same model with an expert at other depths."""
        changed = {**self.transformer, "block_idx_with_mot_ref": list(depths)}
        return replace(self, transformer=changed)

    @property
    def size(self) -> TransformerSize:
        """What of the transformer decides its arithmetic."""
        return TransformerSize.of(self.transformer, self.family)

    @property
    def compression(self) -> Compression:
        """Of VAE and patches."""
        return compression_of(self.transformer, self.vae)
