"""Aesthetic quality of frames, as VBench computes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor

from vap.evaluation.metrics.base import Sample, Value
from vap.evaluation.metrics.embeddings import EmbeddingMetric
from vap.files.reading import reading
from vap.files.weights import sampled_digest
from vap.media import read_clip

_ADVICE = (
    "The metric needs LAION's linear head for CLIP ViT-L/14 in safetensors. Get "
    "sa_0_4_vit_l_14_linear.pth (MIT license) from github.com/LAION-AI/aesthetic-predictor, "
    "convert it as docs/metrics.md shows, and set head: FILE in the metric's YAML file."
)


class Aesthetic(EmbeddingMetric):
    """10 × the mean over frames of LAION's linear aesthetic score, which is about 1 to 10.

    CLIP ViT-L/14 and LAION's linear head, both under the MIT license.

    Attributes:
        head: The linear head in safetensors: ``weight [1, D]`` and ``bias [1]``.
    """

    kind: ClassVar[str] = "aesthetic"

    model: str = "openai/clip-vit-large-patch14"
    head: Path | None = None

    def check(self) -> None:
        """See that head and model are here."""
        self._head()
        super().check()

    def identity(self) -> Mapping[str, Any]:
        """Settings and hashes of the weights of model and head."""
        return {**super().identity(), "head": sampled_digest(self._head()).hex()}

    def score(self, sample: Sample) -> Value:
        """Score each frame."""
        images = self.encoder().images(read_clip(sample.video).frames)
        weight, bias = read_head(self._head())
        if weight.shape[1] != images.shape[1]:
            raise ValueError(
                f"{self.head} scores embeddings of {weight.shape[1]} numbers, and {self.model} "
                f"makes {images.shape[1]}. Give the head of this model."
            )
        return Value(10 * float((images @ weight[0] + bias).mean()))

    def _head(self) -> Path:
        if self.head is None:
            raise ValueError(_ADVICE)
        if not self.head.is_file():
            raise FileNotFoundError(f"There is no file {self.head}. {_ADVICE}")
        return self.head


def read_head(path: Path) -> tuple[Tensor, Tensor]:
    """Read weight ``[1, D]`` and bias ``[1]`` of a linear head."""
    with reading(path, _ADVICE):
        tensors = load_file(path)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        weight, bias = tensors.get("weight"), tensors.get("bias")
        if weight is None or bias is None or weight.ndim != 2 or len(weight) != 1:  # noqa: PLR2004
            raise ValueError(f"{path} is no linear head with one output: it has {shapes}.")
        return weight.to(torch.float32), bias.to(torch.float32)
