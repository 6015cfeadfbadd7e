"""The encoders of a pipeline without its transformer, which encoding does not need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vap.files.folders import family_of, read_json
from vap.files.names import resolve_folder
from vap.files.reading import reading
from vap.files.weights import plain_configuration, sampled_digest
from vap.loading.pipeline import load_pipeline
from vap.pipelines.base import pipeline_class
from vap.shapes import TEXT_TOKENS, PixelShape

_ENCODERS = ("vae", "text_encoder", "image_encoder", "tokenizer", "image_processor")


def load_encoders(model: str, device: str | None = None) -> Any:
    """Load a pipeline whose transformer has the right configuration and next to no weights."""
    kind = pipeline_class(family_of(resolve_folder(model)))
    stand_in = _stand_in(kind.transformer_class, resolve_folder(model))
    return load_pipeline(model, device=device, transformer=stand_in)


class ClipEncoder:
    """The frozen encoders of a pipeline of either variant, without its transformer."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline = pipeline

    def encode(
        self, frames: np.ndarray, caption: str, shape: PixelShape
    ) -> dict[str, torch.Tensor]:
        """Encode one clip into the tensors of a video prompt, without the axis R."""
        prompt = self.pipeline.encode_video_prompt(
            frames, caption, height=shape.height, width=shape.width, num_frames=shape.frames
        )
        return {name: tensor[0] for name, tensor in prompt.tensors.items()}

    @torch.no_grad()
    def encode_text(self, caption: str) -> torch.Tensor:
        """Text tokens ``[L, D]`` of a caption, as the pipeline makes them."""
        text, _ = self.pipeline.encode_prompt(
            [caption],
            do_classifier_free_guidance=False,
            max_sequence_length=TEXT_TOKENS[self.pipeline.family],
            device=self.pipeline.device,
        )
        return text[0]


def encoders_identity(model: str) -> dict[str, Any]:
    """The family, and a hash of the encoders' configurations and of samples of their weights."""
    folder = resolve_folder(model)
    return {"family": family_of(folder), "encoders": _digest(folder)}


def other_encoders(noted: Mapping[str, Any], model: str) -> list[str]:
    """Keys of a noted identity that differ from the model's."""
    return [key for key, value in encoders_identity(model).items() if noted.get(key) != value]


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for component in _ENCODERS:
        for path in sorted((folder / component).glob("*")):
            if path.suffix == ".safetensors":
                part = sampled_digest(path)
            elif path.name.endswith("config.json"):
                content = json.loads(plain_configuration(path))
                if isinstance(content, dict):  # the model may be saved again by another version
                    content.pop("transformers_version", None)
                part = json.dumps(content, sort_keys=True).encode()
            elif path.suffix == ".model" or _is_plain_json(path):
                part = path.read_bytes()
            else:
                continue
            digest.update(f"{component}/{path.name}\0".encode() + hashlib.sha256(part).digest())
    return digest.hexdigest()


def _is_plain_json(path: Path) -> bool:
    return path.suffix == ".json" and not path.name.endswith(".index.json")


def _stand_in(transformer_class: Any, folder: Path) -> Any:
    """A transformer of one narrow block with an expert: encoding only asks whether it has one."""
    config = read_json(folder / "transformer" / "config.json")
    small = {"num_layers": 1, "num_attention_heads": 1, "block_idx_with_mot_ref": [0]}
    if "ffn_dim" in config:
        small["ffn_dim"] = 1
    with reading(folder / "transformer" / "config.json"):
        return transformer_class.from_config(config | small)
