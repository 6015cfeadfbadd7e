"""Requests for the tiny CogVideoX model, as a file and parsed."""

import json
from pathlib import Path
from typing import Any

from vap.batch.requests import BatchRequest, parse_requests

MODEL = Path(__file__).parents[1] / "golden" / "cogvideox"
SHORT = {
    "image": "image.png",
    "model": str(MODEL),
    "height": 48,
    "width": 64,
    "num_frames": 9,
    "num_inference_steps": 1,
    "guidance_scale": 1,
}


def lines_of(*settings: dict[str, Any]) -> str:
    return "\n".join(json.dumps({**SHORT, **setting}) for setting in settings)


def requests_of(*settings: dict[str, Any], folder: Path = Path("/nowhere")) -> list[BatchRequest]:
    return parse_requests(lines_of(*settings), folder)
