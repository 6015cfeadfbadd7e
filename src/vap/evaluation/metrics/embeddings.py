"""Embeddings of frames and captions by models of transformers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from torch import Tensor

from vap.evaluation.metrics.base import Metric
from vap.files.names import find_folder
from vap.files.reading import reading
from vap.files.weights import component_hash
from vap.loading.pipeline import default_device

RGB = NDArray[np.uint8]

_AT_ONCE = 16
# Where the branch main has no safetensors: the commit with the same weights in them.
_REVISIONS = {"openai/clip-vit-base-patch32": "c237dc49a33fc61debc9276459120b7eac67e7ef"}
_SIDE = 224
_Normalization = tuple[tuple[float, float, float], tuple[float, float, float]]
_CLIP: _Normalization = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_IMAGENET: _Normalization = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class EmbeddingMetric(Metric):
    """A metric of image embeddings.

    Attributes:
        model: Folder or Hub id of a model of transformers, in safetensors.
        revision: Commit or branch of the Hub id.
        device: Where it runs; by default the fastest here.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model: str
    revision: str | None = None
    device: str | None = None

    def check(self) -> None:
        """See that the weights are here, downloading them if need be."""
        self.encoder_folder()

    def identity(self) -> Mapping[str, Any]:
        """Settings and the hash of the weights."""
        settings = self.model_dump(mode="json", exclude={"name", "title", "revision", "device"})
        return {"kind": self.kind, **settings, "weights": component_hash(self.encoder_folder())}

    def encoder_folder(self) -> Path:
        """The folder of the model."""
        return encoder_folder(self.model, self.revision)

    def encoder(self) -> Encoder:
        """The model, loaded once in a process."""
        return load_encoder(self.encoder_folder(), str(self.device or default_device()))


def encoder_folder(model: str, revision: str | None = None) -> Path:
    """Find the folder of a model, downloading it if need be.

    Raises:
        FileNotFoundError: If it is neither here nor can be downloaded.
        ValueError: If it has no safetensors weights.
    """
    folder = find_folder(model, revision or _REVISIONS.get(model))
    if not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"{model} has no safetensors weights in {folder}, and others are not read. Give a "
            "revision that has them, or convert the model: load it with transformers where you "
            "trust it, save_pretrained(FOLDER), and give that folder as the model."
        )
    return folder


@dataclass(frozen=True, slots=True)
class Encoder:
    """An image encoder.

    Attributes:
        embed: Frames prepared as the model takes them, ``[B, 3, H, W]``, to embeddings ``[B, D]``.
        side: Pixels of the shorter side that it takes.
        crop: Whether the center square is cut out.
        resample: How frames are resized to it, without antialiasing.
        normalization: Mean and standard deviation of its channels.
        device: Where it is.
        read: Captions to embeddings, where the model can.
    """

    embed: Callable[[Tensor], Tensor]
    side: int
    crop: bool
    resample: Literal["bicubic", "bilinear"]
    normalization: _Normalization
    device: torch.device
    read: Callable[[str], Tensor] | None = None

    @torch.no_grad()
    def images(self, frames: RGB) -> Tensor:
        """Embed frames.

        Args:
            frames: ``[T, H, W, 3]``.

        Returns:
            ``[T, D]`` of length 1, on the CPU.
        """
        parts = [
            self.embed(self.prepared(frames[start : start + _AT_ONCE]).to(self.device)).cpu()
            for start in range(0, len(frames), _AT_ONCE)
        ]
        return F.normalize(torch.cat(parts).float(), dim=-1)

    @torch.no_grad()
    def caption(self, text: str) -> Tensor:
        """Embed a caption, cut where the model's text ends: ``[D]`` of length 1."""
        assert self.read is not None
        return F.normalize(self.read(text).cpu().float(), dim=-1)

    def prepared(self, frames: RGB) -> Tensor:
        """Resize, cut and normalize frames ``[T, H, W, 3]`` to ``[T, 3, S, S]``, as VBench does."""
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
        height, width = pixels.shape[-2:]
        short = min(height, width)
        if short != self.side:
            size = (int(self.side * height / short), int(self.side * width / short))
            pixels = F.interpolate(pixels, size, mode=self.resample, align_corners=False)
            pixels = pixels.clamp(0, 255).round()
        if self.crop:
            top, left = (round((length - self.side) / 2) for length in pixels.shape[-2:])
            pixels = pixels[..., top : top + self.side, left : left + self.side]
        mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in self.normalization)
        return (pixels / 255 - mean) / deviation


@lru_cache(maxsize=2)
def load_encoder(folder: Path, device: str) -> Encoder:
    """Load CLIP, or a vision transformer such as DINO and DINOv2, from its folder."""
    with reading(folder):
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        return (_clip if kind == "clip" else _vision_transformer)(folder, torch.device(device))


def _clip(folder: Path, device: torch.device) -> Encoder:
    from transformers import AutoTokenizer, CLIPModel

    model = CLIPModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    model = model.to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    longest = model.config.text_config.max_position_embeddings

    def read(text: str) -> Tensor:
        tokens = tokenizer(text, truncation=True, max_length=longest, return_tensors="pt")
        found: Tensor = model.get_text_features(**tokens.to(device)).pooler_output[0]
        return found

    return Encoder(
        lambda pixels: model.get_image_features(pixels).pooler_output,
        model.config.vision_config.image_size,
        crop=True,
        resample="bicubic",
        normalization=_CLIP,
        device=device,
        read=read,
    )


def _vision_transformer(folder: Path, device: torch.device) -> Encoder:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    model = model.to(device).eval()

    def embed(pixels: Tensor) -> Tensor:
        # The class token; the positions are stretched over the whole frame.
        found: Tensor = model(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        return found

    side = max(_SIDE, model.config.patch_size)
    return Encoder(
        embed, side, crop=False, resample="bilinear", normalization=_IMAGENET, device=device
    )
