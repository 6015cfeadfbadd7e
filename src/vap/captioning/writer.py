"""A vision-language model as the writer of captions, and its choice by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from vap.captioning.instructions import Style, instructions
from vap.files.names import did_you_mean
from vap.vision.model import Part, VisionModel

VARIABLE = "VAP_CAPTIONER"
"""Environment variable that names the writer."""

KINDS = ("gemini", "openai", "local")
"""How the names of writers begin."""

_LONGEST = 4000
_NONE = "none"
_NAMES = "gemini[:MODEL], openai:URL#MODEL, local:MODEL or none"


def _line(text: str) -> str:
    """On one line; a caption is a paragraph at most."""
    line = " ".join(text.split())
    if not 0 < len(line) <= _LONGEST:
        raise ValueError(f"a caption has 1 to {_LONGEST} characters")
    return line


class Caption(BaseModel):
    """An answer of a model."""

    model_config = ConfigDict(extra="forbid")

    # Not as bounds in the schema, which some services refuse.
    caption: Annotated[str, AfterValidator(_line)]


@dataclass(frozen=True, slots=True)
class CaptionedReference:
    """A reference with its caption.

    Attributes:
        caption: What it shows.
        video: The clip; None where only its encoding is there.
    """

    caption: str
    video: Path | None = None


@dataclass(frozen=True, slots=True)
class Writer:
    """Asks a model for captions; answers are kept by content, so each question is asked once."""

    model: VisionModel

    @property
    def name(self) -> str:
        """The model and the version of what it is asked, for records."""
        folder = Path(self.model.model)
        # Records name no folders of this machine.
        model = folder.resolve().name if folder.is_dir() else self.model.model
        return f"{self.model.kind}:{model}, instructions {instructions().version}"

    def check(self) -> None:
        """Refuse to start where a key or weights are missing."""
        self.model.check()

    def reference_caption(self, video: Path, style: Style) -> str:
        """Describe a reference."""
        return self._ask("The video:", video, instructions().of(style).reference)

    def target_caption(
        self, image: Path, references: Sequence[CaptionedReference], style: Style
    ) -> str:
        """Describe the video to be made of an image; in the style of scenes, the image alone."""
        shown: list[Part] = []
        for reference in references if style == "described" else ():
            if reference.video is not None:
                shown += ["A reference:", reference.video]
            if reference.caption:
                shown.append(f"Caption of this reference: {reference.caption}")
        question = instructions().of(style if shown else "scene").target
        return self._ask(*shown, "The image:", image, question)

    def _ask(self, *parts: Part) -> str:
        form = "Answer in JSON with the one key caption."
        return self.model.ask([*parts, form], Caption).caption


def find_writer(name: str | None = None) -> Writer | None:
    """Find the writer of captions by its name.

    Args:
        name: ``gemini``, ``gemini:MODEL``, ``openai:URL#MODEL`` (a server that speaks OpenAI's
            chat completions; without the model, the first that it serves), ``local:MODEL`` (folder
            or Hub id of a vision-language model of transformers) or ``none``; by default what
            VAP_CAPTIONER in the environment names.

    Returns:
        The writer, or None.

    Raises:
        ValueError: If the name is unknown, or a key is missing.
        FileNotFoundError: If weights are missing.
    """
    named = os.environ.get(VARIABLE, "").strip() if name is None else name
    if named in {"", _NONE}:
        return None
    try:
        writer = Writer(_model(named))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"The captioner {named!r} cannot be used: {fault}.") from error
    writer.check()
    return writer


def _model(named: str) -> VisionModel:
    kind, _, rest = named.partition(":")
    given: dict[str, Any] = {"model": rest} if rest else {}
    if kind == "gemini":
        from vap.vision.gemini import GeminiModel

        return GeminiModel(**given)
    if kind == "local" and rest:
        from vap.vision.local import LocalModel

        return LocalModel(**given)
    if kind == "openai" and rest:
        from vap.vision.openai import OpenAIModel

        url, _, model = rest.partition("#")
        server = OpenAIModel(base_url=url, model=model)
        return server if model else server.model_copy(update={"model": server.first_model()})
    hint = did_you_mean(kind, (*KINDS, _NONE))
    raise ValueError(f"There is no captioner {named!r}.{hint} Use {_NAMES}.")
