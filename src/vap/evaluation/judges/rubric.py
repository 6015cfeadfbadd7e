"""Rubrics: what a judge looks for, for each condition, in a versioned file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from vap.files.yaml_text import LARGEST, parse_yaml

DEFAULT = Path(__file__).parent / "rubric.yaml"
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int
    default: _Text
    conditions: dict[str, _Text] = {}


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge looks for.

    Attributes:
        version: Of the file, for tables and papers.
        default: For conditions without a text of their own.
        conditions: By name of the condition.
        sha256: Of the file.
    """

    version: int
    default: str
    conditions: dict[str, str]
    sha256: str

    def of(self, condition: str) -> str:
        """The text for a condition."""
        return self.conditions.get(condition, self.default)


def read_rubric(path: Path = DEFAULT) -> Rubric:
    """Read a rubric: YAML with ``version``, ``default`` and, if need be, ``conditions``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no rubric.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no rubric {path}. Give the path of a YAML file.")
    data = path.read_bytes()
    try:
        content = parse_yaml(data[: 4 * LARGEST].decode("utf-8"))
        read = _File.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise ValueError(
            f"{path} is no rubric ({faults}). It needs version: 1, default: a text, and may have "
            "conditions: {name: text}."
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} is no rubric in YAML: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    return Rubric(read.version, read.default, read.conditions, digest)
