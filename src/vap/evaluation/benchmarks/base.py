"""A benchmark: cases, and how they are scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vap.evaluation.case import Case

_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Cases of a benchmark.

    Attributes:
        name: What it is called.
        cases: In the order in which results are shown; their names differ.
        exact: Whether videos are scored pixel by pixel: then they are folders of PNG frames.
    """

    name: str
    cases: tuple[Case, ...]
    exact: bool = False

    @property
    def identity(self) -> str:
        """Hash of all cases and their media."""
        return digest({case.name: case_digest(case) for case in self.cases})


def case_digest(case: Case) -> str:
    """Hash of what a case asks for: texts, and the contents of its media."""
    values = {
        name: media_digest(value) if isinstance(value, Path) else value
        for name, value in asdict(case).items()
        if name not in {"name", "group"}
    }
    return digest(values)


def media_digest(path: Path) -> str:
    """SHA-256 of a file, or of the frames of a folder by name; it is computed at every call."""
    from vap.media.files import hash_file

    if not path.is_dir():
        return hash_file(path)
    return digest([(each.name, hash_file(each)) for each in sorted(path.iterdir())], digits=64)


def digest(values: Any, *, digits: int = _DIGITS) -> str:
    """The start of the SHA-256 of JSON values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:digits]


def selected(
    cases: Iterable[Case], count: int | None, conditions: Iterable[str], source: str
) -> tuple[Case, ...]:
    """The first cases of these conditions.

    Raises:
        ValueError: If a condition is not there, or no case is left.
    """
    from vap.files.names import did_you_mean

    every, chosen = list(cases), list(conditions)
    known = {case.condition for case in every}
    if strangers := [name for name in chosen if name not in known]:
        raise ValueError(
            f"{source} has no condition {strangers[0]!r}.{did_you_mean(strangers[0], known)} It "
            f"has: {', '.join(sorted(known))}."
        )
    found = [case for case in every if not chosen or case.condition in chosen][:count]
    if not found:
        raise ValueError(f"{source} has no cases.")
    return tuple(found)
