"""What a vision-language model is asked for captions, in a versioned file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from vap.files.names import bundled_model
from vap.files.yaml_text import parse_yaml

Style = Literal["described", "scene"]
"""Whether captions tell what happens, or the scene alone."""


class Questions(BaseModel):
    """The questions of a style.

    Attributes:
        reference: For the caption of a reference video.
        target: For the caption of the video that is to be made of an image.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str
    target: str


class Instructions(BaseModel):
    """All questions, with their version."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    described: Questions
    scene: Questions

    def of(self, style: Style) -> Questions:
        """The questions of a style."""
        return self.scene if style == "scene" else self.described


@cache
def instructions() -> Instructions:
    """Read the file of the package."""
    path = Path(__file__).parent / "instructions.yaml"
    return Instructions.model_validate(parse_yaml(path.read_text(encoding="utf-8")))


def style_of(model: str) -> Style:
    """The style of the captions that a model was trained on."""
    return "described" if bundled_model(model) is None else "scene"
