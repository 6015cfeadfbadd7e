"""One line a finished video, so that a crash costs one batch; two runs may share the file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from vap.files.atomic import atomic_file
from vap.mini.evaluation.scores import Score
from vap.mini.evaluation.weight_hashes import settings_hash

_SCORE = TypeAdapter(Score)
_SETTINGS = "settings"


class Journal:
    """Scores in a JSONL file, headed by the settings that they belong to."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, resume: bool) -> None:
        self._path, self._settings = path, dict(settings)
        self._hash = settings_hash(settings)
        self.scores: list[Score] = []
        self._started = False
        if resume:
            # Rewritten, so that a line that a crash cut off does not join the next one.
            self._begin(_read(path, settings, self._hash))

    def add(self, scores: Iterable[Score]) -> None:
        """Append scores; they are in the file when this returns."""
        fresh = list(scores)
        if not self._started:
            self._begin(fresh)
            return
        with self._path.open("a", encoding="utf-8") as file:
            # At once, so that lines of two runs stay apart.
            file.write("".join(f"{self._line(score)}\n" for score in fresh))
        self.scores += fresh

    def _begin(self, scores: list[Score]) -> None:
        """Write the file whole."""
        lines = [json.dumps({_SETTINGS: self._settings}), *map(self._line, scores)]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._path) as partial:
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self._started, self.scores = True, scores

    def _line(self, score: Score) -> str:
        return json.dumps({**asdict(score), _SETTINGS: self._hash})


def _read(path: Path, settings: Mapping[str, Any], own: str) -> list[Score]:
    """The scores of these settings, each once."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is nothing to resume: {path} does not exist. Start without --resume."
        )
    first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found = _object(first).get(_SETTINGS)
    if found != json.loads(json.dumps(dict(settings))):
        raise ValueError(
            f"{path} was started with other settings: {found}. Repeat those, or restart without "
            "--resume."
        )
    scores: dict[tuple[str, str, str, int], Score] = {}
    # What follows the last line break was cut off by a crash.
    for line in lines[:-1]:
        # Earlier versions did not say whose a line is.
        if _object(line).get(_SETTINGS, own) == own:
            score = _score(line, path)
            scores.setdefault((score.system, score.weights, score.split, score.index), score)
    return list(scores.values())


def _score(line: str, path: Path) -> Score:
    try:
        return _SCORE.validate_json(line)
    except ValidationError as error:
        raise ValueError(
            f"{path} is damaged at {line[:80]!r}. Restart without --resume."
        ) from error


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
