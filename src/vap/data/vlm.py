"""Captions by a vision-language model of the transformers library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PIL import Image

from vap.data.clip_files import InspectedClip
from vap.media import read_clip, select_frames
from vap.vision.chat import ChatModel

DEFAULT_PROMPT = (
    "These are frames of one video, in order of time. Describe the video in one paragraph: the "
    "scene, the subject, and above all what happens to the subject and how the camera moves."
)


@dataclass(frozen=True, slots=True)
class VlmCaptioner:
    """Shows frames of a clip to a chat model and takes its answer as the caption.

    Attributes:
        chat: The model.
        prompt: What is asked after the frames.
        frames: Frames shown, evenly over the clip.
        side: Longest side of a frame in pixels; a long caption needs no more than the gist.
        max_new_tokens: Length at which an answer is cut.
    """

    chat: ChatModel
    prompt: str = DEFAULT_PROMPT
    frames: int = 8
    side: int = 448
    max_new_tokens: int = 256

    @classmethod
    def load(
        cls, name: str, *, device: str = "auto", prompt: str = DEFAULT_PROMPT, frames: int = 8
    ) -> VlmCaptioner:
        """Load a model as :meth:`ChatModel.load` does."""
        if frames < 1:
            raise ValueError(f"frames={frames}: the model must see at least 1 frame.")
        return cls(ChatModel.load(name, device), prompt, frames)

    def caption(self, clip: InspectedClip) -> str:
        """The model's answer, on one line."""
        text = self.chat.answer(self._content(clip), self.max_new_tokens)
        caption = " ".join(text.split())
        if not caption:
            raise ValueError("the model answered with an empty caption")
        return caption

    def _content(self, clip: InspectedClip) -> list[dict[str, Any]]:
        scale = min(1.0, self.side / max(clip.info.height, clip.info.width))
        size = (max(1, round(clip.info.height * scale)), max(1, round(clip.info.width * scale)))
        read = read_clip(
            clip.path, size=size, frame_indices=lambda n: select_frames(n, self.frames)
        )
        images = [{"type": "image", "image": Image.fromarray(frame)} for frame in read.frames]
        return [*images, {"type": "text", "text": self.prompt}]
