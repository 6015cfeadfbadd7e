"""Any server that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from vap.vision.model import Picture, Shown, VisionModel
from vap.vision.service import Address, get, jpeg, key_from, mp4, post

_OPENAI = "https://api.openai.com/v1"


class OpenAIModel(VisionModel):
    """A chat model behind ``/chat/completions``: of OpenAI, or of vLLM, SGLang and others.

    Attributes:
        base_url: Address of the server, with ``/v1``.
        key: Environment variable with the key; servers of one's own may need none.
        send: Send frames as images, or a video (``video_url``, as vLLM takes it).
        structured: Send the schema of the answer; not all servers take it.
    """

    kind: Literal["openai"] = "openai"
    base_url: Address = _OPENAI
    key: str = "OPENAI_API_KEY"
    send: Literal["frames", "video"] = "frames"
    structured: bool = True

    def check(self) -> None:
        """See that there is a key where one is needed for sure."""
        if self.base_url == _OPENAI and not key_from(self.key):
            raise ValueError(
                f"{self.model} needs a key: set {self.key} in the environment, or set "
                "base_url to a server of your own."
            )

    def answer(self, shown: Sequence[Shown], schema: Mapping[str, Any]) -> str:
        """Ask once."""
        content = [part for each in shown for part in self._parts(each)]
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
        }
        if self.structured:
            named = {"name": "answer", "schema": schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        reply = post(f"{self.base_url}/chat/completions", self._headers(), body)
        try:
            message = reply["choices"][0]["message"]
            if refusal := message.get("refusal"):
                raise ValueError(f"{self.model} refuses: {str(refusal)[:300]}")
            return str(message.get("content") or "")
        except (AttributeError, LookupError, TypeError):
            return ""

    def first_model(self) -> str:
        """Return the name of the first model that the server has."""
        reply = get(f"{self.base_url}/models", self._headers())
        try:
            return str(reply["data"][0]["id"])
        except (LookupError, TypeError) as error:
            raise ValueError(f"{self.base_url} names no models. Name one.") from error

    def _headers(self) -> dict[str, str]:
        key = key_from(self.key)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def _parts(self, shown: Shown) -> list[dict[str, Any]]:
        if isinstance(shown, str):
            return [{"type": "text", "text": shown}]
        if isinstance(shown, Picture):
            return [_image(shown.pixels)]
        if self.send == "video":
            return [_linked("video_url", f"data:video/mp4;base64,{mp4(shown)}")]
        return [_image(frame) for frame in shown.frames]


def _image(frame: np.ndarray) -> dict[str, Any]:
    return _linked("image_url", f"data:image/jpeg;base64,{jpeg(frame)}")


def _linked(kind: str, url: str) -> dict[str, Any]:
    return {"type": kind, kind: {"url": url}}
