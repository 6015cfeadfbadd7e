"""The types that run over the wires between these nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from comfy_api.v0_0_2 import io

CATEGORY = "Video-As-Prompt"

ModelWire = io.Custom("VAP_MODEL")
ReferencesWire = io.Custom("VAP_REFERENCES")
VideoPromptWire = io.Custom("VAP_VIDEO_PROMPT")


@dataclass(frozen=True)
class Model:
    """A model as :func:`vap.load_pipeline` loads it. It is loaded when a node needs it."""

    name: str
    profile: str | None = None
    memory: str | None = None
    quantize: str | None = None
    expert: Path | None = None
    backbone: Path | None = None
    student: Path | None = None
    distilled: str | None = None
    lora: tuple[tuple[Path, float], ...] = ()


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference video, and its caption."""

    clip: Path | np.ndarray
    caption: str
