"""Gemini by its HTTP API; it sees videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from vap.vision.model import Picture, Shown, VisionModel
from vap.vision.service import Address, jpeg, key_from, mp4, post

_KEY = "GEMINI_API_KEY"


class GeminiModel(VisionModel):
    """Gemini. The key is read from GEMINI_API_KEY.

    Attributes:
        base_url: Address of the API.
    """

    kind: Literal["gemini"] = "gemini"
    model: str = "gemini-2.5-pro"
    base_url: Address = "https://generativelanguage.googleapis.com/v1beta"

    def check(self) -> None:
        """See that there is a key."""
        if not key_from(_KEY):
            raise ValueError(
                f"{self.model} needs a key: set {_KEY} in the environment, or choose another model."
            )

    def answer(self, shown: Sequence[Shown], schema: Mapping[str, Any]) -> str:
        """Ask once."""
        body = {
            "contents": [{"role": "user", "parts": [_part(part) for part in shown]}],
            "generationConfig": {
                "temperature": 0,
                "responseMimeType": "application/json",
                "responseJsonSchema": schema,
            },
        }
        url = f"{self.base_url}/models/{self.model}:generateContent"
        reply = post(url, {"x-goog-api-key": key_from(_KEY)}, body)
        return _text_of(reply, self.model)


def _part(shown: Shown) -> dict[str, Any]:
    if isinstance(shown, str):
        return {"text": shown}
    if isinstance(shown, Picture):
        return {"inlineData": {"mimeType": "image/jpeg", "data": jpeg(shown.pixels)}}
    rate = len(shown.frames) / shown.info.seconds
    return {
        "inlineData": {"mimeType": "video/mp4", "data": mp4(shown)},
        # By default it looks at one frame a second; it takes at most 24.
        "videoMetadata": {"fps": min(24.0, max(1.0, rate))},
    }


def _text_of(reply: Any, model: str) -> str:
    """The text of an answer; empty if there is none to read."""
    try:
        if reason := reply.get("promptFeedback", {}).get("blockReason"):
            raise ValueError(f"{model} refuses to answer ({reason}).")
        candidate = reply["candidates"][0]
        parts = candidate.get("content", {}).get("parts", [])
        text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
        if not text and candidate.get("finishReason") not in {"STOP", "MAX_TOKENS"}:
            raise ValueError(f"{model} gives no answer ({candidate.get('finishReason')}).")
    except (AttributeError, LookupError, TypeError):
        return ""
    return text
