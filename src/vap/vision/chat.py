"""A chat model of transformers that sees images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ChatModel:
    """A chat model that sees images.

    Attributes:
        model: A transformers model for "image-text-to-text".
        processor: Its processor, with a chat template.
    """

    model: Any
    processor: Any

    @classmethod
    def load(cls, name: str, device: str = "auto") -> ChatModel:
        """Load a model from a folder, or from the Hub by its id.

        Only safetensors weights are read and no code of the model's repository is run.
        """
        # transformers takes seconds to import, which only users of a model should wait for.
        import torch
        from transformers import AutoModelForImageTextToText, AutoProcessor

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        processor = AutoProcessor.from_pretrained(name)
        model = AutoModelForImageTextToText.from_pretrained(
            name, dtype="auto", use_safetensors=True
        )
        return cls(model.to(device).eval(), processor)

    def answer(self, content: Sequence[dict[str, Any]], max_new_tokens: int) -> str:
        """The model's answer to a message of images and texts, as its chat template takes them."""
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.model.device, dtype=self.model.dtype)
        tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        asked = inputs["input_ids"].shape[1]
        text: str = self.processor.batch_decode(tokens[:, asked:], skip_special_tokens=True)[0]
        return text
