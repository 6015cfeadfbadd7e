"""A vision-language model of transformers, on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from PIL import Image
from pydantic import PositiveInt

from vap.files.names import find_folder
from vap.files.weights import component_hash
from vap.vision.chat import ChatModel
from vap.vision.model import Picture, Shown, VisionModel


class LocalModel(VisionModel):
    """A model for "image-text-to-text", such as Qwen3-VL; it sees frames as images.

    Attributes:
        device: Where it runs; by default the fastest here.
        max_new_tokens: Length at which an answer is cut.
    """

    kind: Literal["local"] = "local"
    frames: PositiveInt = 8
    device: str = "auto"
    max_new_tokens: PositiveInt = 512

    def check(self) -> None:
        """See that the weights are here, downloading them if need be."""
        component_hash(find_folder(self.model))

    def unload(self) -> None:
        """Free the memory of the weights."""
        if _loaded.cache_info().currsize:
            import torch

            _loaded.cache_clear()
            if torch.accelerator.is_available():
                torch.accelerator.memory.empty_cache()

    def identity(self) -> Mapping[str, Any]:
        """Settings and the hash of the weights."""
        settings = {key: value for key, value in super().identity().items() if key != "device"}
        return {**settings, "weights": component_hash(find_folder(self.model))}

    def answer(self, shown: Sequence[Shown], schema: Mapping[str, Any]) -> str:
        """Ask once; the schema is told in words."""
        content: list[dict[str, Any]] = []
        for part in shown:
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                frames = [part.pixels] if isinstance(part, Picture) else part.frames
                images = map(Image.fromarray, frames)
                content.extend({"type": "image", "image": image} for image in images)
        told = f"Answer with one JSON object of this schema and nothing else: {json.dumps(schema)}"
        content.append({"type": "text", "text": told})
        return _loaded(self.model, self.device).answer(content, self.max_new_tokens)


@lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> ChatModel:
    return ChatModel.load(str(find_folder(model)), device)
