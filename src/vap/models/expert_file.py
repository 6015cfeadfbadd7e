"""The expert file: one safetensors file whose header names its model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Json, NonNegativeInt, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from vap.files.weights import is_floating, read_headers, save_tensors, shape_difference
from vap.models.rope import ReferencePositions

_FORMAT = "vap-expert"
_FORMAT_VERSION = 1


class ExpertInfo(BaseModel):
    """The header of an expert file."""

    model_config = ConfigDict(frozen=True)

    path: Path
    transformer: str
    depths: Json[tuple[NonNegativeInt, ...]]
    reference_positions: ReferencePositions
    description: str = ""
    shapes: dict[str, tuple[int, ...]]
    format_version: PositiveInt

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(torch.Size(shape).numel() for shape in self.shapes.values())

    def check_shapes(self, expected: Mapping[str, Sequence[int]]) -> None:
        """Compare with the expert that a model would take."""
        difference = shape_difference(self.shapes, expected)
        if difference is not None:
            name, found, wanted = difference
            raise ValueError(
                f"{self.path} does not fit this backbone: {name} is {found} in the file and "
                f"{wanted} in the model. Use the backbone that it was trained on."
            )


def write_expert(
    path: str | Path,
    state: Mapping[str, torch.Tensor],
    *,
    transformer: str,
    depths: Sequence[int],
    reference_positions: str,
    description: str = "",
) -> Path:
    """Write expert tensors and their header, atomically."""
    header = {
        "format": _FORMAT,
        "format_version": str(_FORMAT_VERSION),
        "transformer": transformer,
        "depths": json.dumps(list(depths)),
        "reference_positions": reference_positions,
        "description": description,
    }
    save_tensors(state, Path(path), header)
    return Path(path)


def read_expert_info(path: str | Path) -> ExpertInfo:
    """Read the header of an expert file; no tensor is loaded."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no expert file at {file}. Save one with save_expert or `vap expert extract`."
        )
    try:
        with safe_open(file, framework="pt") as tensors:
            header = tensors.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{file} is not a safetensors file or is damaged ({error}). Copy it again."
        ) from error
    if header.get("format") != _FORMAT:
        raise ValueError(f"{file} is a safetensors file, but not an expert saved by save_expert.")
    stored = read_headers([file])
    for name, tensor in stored.items():
        if not is_floating(tensor.dtype):
            raise ValueError(
                f"{file} has {name} in {tensor.dtype}. Weights must be floating-point."
            )
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    try:
        info = ExpertInfo.model_validate({**header, "path": file, "shapes": shapes})
    except ValidationError as error:
        raise ValueError(
            f"The header of {file} is damaged ({error}). Save the expert again."
        ) from error
    if info.format_version > _FORMAT_VERSION:
        raise ValueError(
            f"{file} has expert format {info.format_version}; this version reads up to "
            f"{_FORMAT_VERSION}. Update video-as-prompt."
        )
    return info


def read_expert(path: str | Path) -> dict[str, torch.Tensor]:
    """Load the tensors of an expert file."""
    return load_file(path)
