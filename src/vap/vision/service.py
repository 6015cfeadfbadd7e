"""Requests to services of models, repeated where that helps; no message tells a key."""

from __future__ import annotations

import base64
import io
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from pydantic import AfterValidator

from vap.extras import require
from vap.media import Clip, write_video

_ATTEMPTS = 6
_FIRST_WAIT, _LONGEST_WAIT = 2.0, 60.0
_TIMEOUT = 300.0
_QUOTED = 300  # characters of what a service says
_TOO_MANY, _SERVER_ERRORS, _ERRORS = 429, 500, 400


def _address(text: str) -> str:
    """Refuse what is no address, and keys in it: addresses are in records and messages."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise ValueError(
            "the address of a server must look like http://localhost:8000/v1, without user, "
            "password or query; give keys in the environment"
        )
    return text.rstrip("/")


Address = Annotated[str, AfterValidator(_address)]
"""Where a service is."""


def post(url: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> Any:
    """Send JSON, and return the JSON that comes back.

    Full queues, errors of the server and lost connections are repeated after a while.

    Raises:
        ValueError: If the service refuses or cannot be reached.
    """
    return _send("POST", url, headers, json=body)


def get(url: str, headers: Mapping[str, str]) -> Any:
    """Return the JSON at an address; see :func:`post`."""
    return _send("GET", url, headers)


def _send(method: str, url: str, headers: Mapping[str, str], **content: Any) -> Any:
    httpx = require("httpx2", extra="captions", purpose="ask a model by HTTP")
    problem = ""
    with httpx.Client(timeout=_TIMEOUT) as client:
        for attempt in range(_ATTEMPTS):
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)
            try:
                answer = client.request(method, url, headers=dict(headers), **content)
            except httpx.TransportError as error:
                problem = f"cannot be reached: {error or type(error).__name__}"
            else:
                status = answer.status_code
                if status < _ERRORS:
                    return _json(url, answer, headers)
                problem = f"answers {status}: {_said(answer)}"
                if status != _TOO_MANY and status < _SERVER_ERRORS:
                    break
                wait = max(wait, _retry_after(answer.headers.get("retry-after", "")))
            if attempt + 1 < _ATTEMPTS:
                pause(wait)
    raise ValueError(_without(headers, f"{url} {problem}"))


pause = time.sleep
"""Waits for some seconds; tests replace it."""


def key_from(variable: str) -> str:
    """A key from the environment, empty if there is none."""
    return os.environ.get(variable, "").strip()


def jpeg(frame: np.ndarray) -> str:
    """A frame as JPEG, in base64."""
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=90)
    return base64.b64encode(stream.getvalue()).decode()


def mp4(clip: Clip) -> str:
    """The frames that are shown as an MP4 of the clip's length, in base64."""
    rate = max(1.0, len(clip.frames) / clip.info.seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(clip.frames, Path(folder) / "clip.mp4", rate)
        return base64.b64encode(path.read_bytes()).decode()


def _json(url: str, answer: Any, headers: Mapping[str, str]) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        text = _without(headers, answer.text[:_QUOTED])
        raise ValueError(f"{url} answers with what is no JSON: {text!r}") from error


def _without(headers: Mapping[str, str], message: str) -> str:
    """A message without the keys that were sent; some services repeat them."""
    for value in headers.values():
        message = message.replace(value.removeprefix("Bearer "), "…")
    return message


def _said(answer: Any) -> str:
    """The message of an error, in the form that most services use."""
    try:
        error = answer.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:_QUOTED]
    except (ValueError, LookupError, TypeError):
        return str(answer.text[:_QUOTED])


def _retry_after(text: str) -> float:
    """Seconds that a service asks to wait; 0 for a date or nothing."""
    return min(_LONGEST_WAIT, float(text)) if text.isdigit() else 0.0
