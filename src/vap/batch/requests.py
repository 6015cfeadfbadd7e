"""A requests file: JSON Lines with the fields of :class:`GenerationRequest` and a name."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from vap.effects.library import find_effect
from vap.files.names import did_you_mean, is_known
from vap.generation.request import (
    SINGLE_INPUTS,
    GenerationRequest,
    check_inputs_kept,
    check_place,
    places_of,
)

_LISTED = 20  # problems that an error lists
_NAME = r"^[\w-][\w.-]*$"
# In characters of up to four bytes, of which a file's name may have 255 with all that is added.
_LONGEST_NAME = 60
_LONGEST_STEM = 40
_LONGEST_LINE = 1_000_000
_DIGITS = 8


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A video of a batch."""

    name: str  # of its files
    request: GenerationRequest  # with absolute paths
    digest: str  # of the request as it was written: another digest, another video

    @property
    def inputs(self) -> tuple[str, ...]:
        """The model and the real paths of all files, which differ from folder to folder."""
        return (self.request.model, *(os.path.realpath(path) for _, path in self.request.inputs))


def read_requests(
    path: str | Path, defaults: Mapping[str, Any] | None = None
) -> list[BatchRequest]:
    """Read a file of requests; the files that they name are not opened.

    Args:
        path: One JSON object per line with the fields of :class:`GenerationRequest` and optionally
            a ``name`` (default: the image's name and the request's digest). Relative paths start
            at this file's folder. Blank lines are skipped.
        defaults: Values of fields that a line leaves out, such as ``model``.

    Raises:
        ValueError: Lists the invalid lines, and duplicate names.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"The requests file {file} does not exist. Give a JSON Lines file.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8 text ({error}). Save it as UTF-8.") from error
    return parse_requests(text, file.parent.resolve(), name=str(file), defaults=defaults)


def parse_requests(
    text: str, folder: Path, name: str = "requests", defaults: Mapping[str, Any] | None = None
) -> list[BatchRequest]:
    """Requests of a text, see :func:`read_requests`; messages call it ``name``."""
    requests: dict[str, BatchRequest] = {}
    lines: dict[str, int] = {}
    problems = []
    # Only line feeds end lines: JSON may contain other line separators of Unicode.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if len(line) > _LONGEST_LINE:
            problems.append(
                f"{name}, line {number}: {len(line):,} characters are too many for a request; the "
                f"limit is {_LONGEST_LINE:,}. Write one JSON object per line."
            )
            continue
        try:
            request = _parse(line, folder, defaults or {})
        except ValidationError as error:
            problems += [f"{name}, line {number}: {what}" for what in _explained(error)]
            continue
        except (OSError, ValueError) as error:  # of the effect that it names
            problems.append(f"{name}, line {number}: {error}")
            continue
        if request.name in requests:
            first = lines[request.name]
            problems.append(
                f"{name}, line {number}: {request.name!r} is also the name of line {first}. "
                "Change one of the names, or for another video the seed."
            )
            continue
        requests[request.name], lines[request.name] = request, number
    if problems:
        shown = problems[:_LISTED]
        more = [f"… and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        raise ValueError("\n".join(shown + more))
    if not requests:
        raise ValueError(f"{name} has no requests. Write one JSON object per line.")
    return list(requests.values())


def _parse(line: str, folder: Path, defaults: Mapping[str, Any]) -> BatchRequest:
    """One line."""
    content = _line_model().model_validate_json(line, strict=True)
    values = {field: getattr(content, field) for field in type(content).model_fields}
    values |= {
        name: value for name, value in defaults.items() if name not in content.model_fields_set
    }
    name: str | None = values.pop("name")
    request = GenerationRequest(**values)
    digest = _digest(request)
    placed = _placed(request, folder)
    if request.effect is not None:
        given = content.model_fields_set | defaults.keys()
        chosen = {field: getattr(placed, field) for field in given if field != "name"}
        placed = GenerationRequest(**find_effect(request.effect).applied_to(chosen))
    return BatchRequest(name or _name(request, digest), placed, digest)


@cache
def _line_model() -> type[BaseModel]:
    """What a line must be: the fields of a request with their types, and nothing else."""
    hints = get_type_hints(GenerationRequest)
    definitions: dict[str, Any] = {
        "name": (str | None, Field(None, pattern=_NAME, max_length=_LONGEST_NAME))
    }
    for field in fields(GenerationRequest):
        default = ... if field.default is MISSING else field.default
        definitions[field.name] = (hints[field.name], default)
    return create_model(
        "RequestLine", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **definitions
    )


def _explained(error: ValidationError) -> Iterator[str]:
    """What is wrong with a line, a sentence for each fault."""
    known = tuple(_line_model().model_fields)
    for fault in error.errors(include_url=False, include_context=False):
        where = ".".join(map(str, fault["loc"]))[:_LONGEST_NAME]
        if fault["type"] == "extra_forbidden":
            hint = did_you_mean(where, known) or f" Known are: {', '.join(known)}."
            yield f"{where!r} is not a setting.{hint}"
        elif fault["type"] == "missing":
            yield f"{where!r} is missing."
        else:
            yield f"{where}: {fault['msg']}." if where else f"{fault['msg']}."


def _digest(request: GenerationRequest) -> str:
    """Of what is not left to its default, so that settings of later versions do not change it."""
    defaults = {field.name: field.default for field in fields(request)}
    written = {k: v for k, v in asdict(request).items() if v != defaults[k]}
    return hashlib.sha256(json.dumps(written, default=str, sort_keys=True).encode()).hexdigest()


def _name(request: GenerationRequest, digest: str) -> str:
    """A name from image and digest, which does not change when lines move."""
    stem = re.sub(r"[^\w-]+", "_", request.image.stem)[:_LONGEST_STEM]
    return f"{stem or 'video'}-{digest[:_DIGITS]}"


def _placed(request: GenerationRequest, folder: Path) -> GenerationRequest:
    """The request with its paths made absolute."""
    single = {name: getattr(request, name) for name in SINGLE_INPUTS}
    changes: dict[str, Any] = {
        name: folder / path for name, path in single.items() if path is not None
    }
    if _is_folder_of(request.model, folder):
        changes["model"] = str(folder / request.model)
    for several in ("references", "lora"):
        changes[several] = tuple(folder / path for path in getattr(request, several))
    return replace(request, **changes)


def _is_folder_of(model: str, folder: Path) -> bool:
    """Whether a model's name is a path, rather than a bundled name or a Hub id."""
    try:
        return not is_known(model) and (folder / model).is_dir()
    except OSError:  # a name that no file can have
        return False


def check_files(request: GenerationRequest, place: Path) -> None:
    """Refuse a request whose files are not there, or whose video cannot be written."""
    for role, path in request.inputs:
        if not path.exists():
            raise FileNotFoundError(f"There is no {role.replace('_', ' ')} at {path}.")
    for written in places_of(place):
        check_place(written)
    check_inputs_kept((path for _, path in request.inputs), places_of(place))
