"""The protocol of a judge: texts and videos in, a checked answer out, each asked once."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from vap.files.atomic import atomic_file
from vap.files.cache import cache_folder
from vap.media import Clip, probe_clip, read_clip, select_frames

Form = TypeVar("Form", bound=BaseModel)
Part = str | Path
"""What a judge is shown: a text, or a video file (or folder of frames)."""
Shown = str | Clip

_LONGEST = 20_000  # characters of an answer that are read


class Judge(BaseModel, ABC):
    """A model that is asked about videos; a subclass for each way to reach one.

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

    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the answers. JSON values."""
        return self.model_dump(mode="json", exclude={"attempts", "cache"})

    @abstractmethod
    def answer(self, shown: Sequence[Shown], schema: Mapping[str, Any]) -> str:
        """Ask once.

        Args:
            shown: Texts and videos, in order.
            schema: JSON schema of the answer.

        Returns:
            The model's text.

        Raises:
            ValueError: If the model cannot be reached or refuses.
        """

    def ask(self, parts: Sequence[Part], form: type[Form], trial: int = 0) -> Form:
        """Ask, until an answer fits; an answer is kept and not asked for again.

        Args:
            parts: Texts and videos, in order.
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

    def _look(self, video: Path) -> Clip:
        info = probe_clip(video)
        scale = min(1.0, self.side / max(info.height, info.width))
        size = (max(1, round(info.height * scale)), max(1, round(info.width * scale)))
        return read_clip(
            video, size=size, frame_indices=lambda count: select_frames(count, self.frames)
        )

    def _kept(self, shown: Sequence[Shown], schema: Mapping[str, Any], trial: int) -> Path:
        asked = {
            "judge": self.identity(),
            "shown": [part if isinstance(part, str) else [part.sha256] for part in shown],
            "schema": schema,
            "trial": trial,
        }
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        folder = cache_folder() / "judges" if self.cache is None else self.cache
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
