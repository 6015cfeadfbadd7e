"""A vision-language model: texts, images and videos in, a checked answer out, each asked once."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from vap.files.atomic import atomic_file
from vap.files.cache import cache_folder
from vap.media import Clip, probe_clip, read_clip, read_image, select_frames
from vap.media.files import hash_file
from vap.media.images import STILL_SUFFIXES
from vap.media.pixels import resize

Form = TypeVar("Form", bound=BaseModel)
Part = str | Path
"""What a model is shown: a text, or the file of an image or video (or a folder of frames)."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image to be shown.

    Attributes:
        pixels: uint8 `[H, W, 3]`.
        sha256: Of the file.
    """

    pixels: np.ndarray
    sha256: str


Shown = str | Clip | Picture

_LONGEST = 20_000  # characters of an answer that are read


class VisionModel(BaseModel, ABC):
    """A model that looks at images and videos; a subclass for each way to reach one.

    Attributes:
        model: Its name.
        frames: Frames that it sees of each video, evenly over it.
        side: Longest side of a frame in pixels.
        attempts: How often an answer that does not fit is asked for.
        cache: Folder of answers; by default the user's cache.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    kind: str
    model: str
    frames: PositiveInt = 16
    side: PositiveInt = 448
    attempts: PositiveInt = 3
    cache: Path | None = None

    def check(self) -> None:
        """Refuse to start where a key, an extra or weights are missing.

        Raises:
            ValueError: What is missing and how to give it.
        """

    def unload(self) -> None:
        """Free the memory that the model takes on this machine."""

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the answers. JSON values."""
        return self.model_dump(mode="json", exclude={"attempts", "cache"})

    @abstractmethod
    def answer(self, shown: Sequence[Shown], schema: Mapping[str, Any]) -> str:
        """Ask once.

        Args:
            shown: Texts, images and videos, in order.
            schema: JSON schema of the answer.

        Returns:
            The model's text.

        Raises:
            ValueError: If the model cannot be reached or refuses.
        """

    def ask(self, parts: Sequence[Part], form: type[Form], trial: int = 0) -> Form:
        """Ask, until an answer fits; an answer is kept and not asked for again.

        Args:
            parts: Texts, images and videos, in order.
            form: What the answer must be.
            trial: Tells repeats of one question apart.

        Raises:
            ValueError: If there is no answer, or none that fits.
        """
        shown = [part if isinstance(part, str) else self._look(part) for part in parts]
        schema = form.model_json_schema()
        kept = self._kept(shown, schema, trial)
        if kept.is_file():
            for answer in answers_in(kept.read_text(encoding="utf-8"), form):
                return answer
        text = ""
        for _ in range(self.attempts):
            text = self.answer(shown, schema)
            for answer in answers_in(text, form):
                kept.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(kept) as partial:
                    partial.write_text(answer.model_dump_json() + "\n", encoding="utf-8")
                return answer
        raise ValueError(
            f"{self.model} gave no answer of the form {list(schema['properties'])} in "
            f"{self.attempts} attempts; the last one was {text[:200]!r}."
        )

    def _look(self, path: Path) -> Clip | Picture:
        if path.suffix.lower() in STILL_SUFFIXES and not path.is_dir():
            pixels = np.asarray(read_image(path))
            return Picture(resize(pixels, self._size(*pixels.shape[:2])), hash_file(path))
        info = probe_clip(path)
        return read_clip(
            path,
            size=self._size(info.height, info.width),
            frame_indices=lambda count: select_frames(count, self.frames),
        )

    def _size(self, height: int, width: int) -> tuple[int, int]:
        scale = min(1.0, self.side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _kept(self, shown: Sequence[Shown], schema: Mapping[str, Any], trial: int) -> Path:
        asked = {
            "model": self.identity(),
            "shown": [part if isinstance(part, str) else [part.sha256] for part in shown],
            "schema": schema,
            "trial": trial,
        }
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        folder = cache_folder() / "answers" if self.cache is None else self.cache
        return folder / digest[:2] / f"{digest}.json"


def answers_in(text: str, form: type[Form]) -> Iterator[Form]:
    """Find the JSON objects of a form in a text, which may have prose or a fence around them."""
    text = text[:_LONGEST]
    place = text.find("{")
    while place >= 0:
        try:
            value, _ = json.JSONDecoder().raw_decode(text, place)
            yield form.model_validate(value)
        except (ValueError, ValidationError, RecursionError):
            pass
        place = text.find("{", place + 1)
