"""Bodies of requests: JSON or a form, both as one mapping of fields and one of files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from vap.serving.api.errors import ApiError

_MOST_FILES, _MOST_FIELDS, _FIELD_BYTES = 20, 200, 1024**2
_BRACKETS = re.compile(r"(\w+)\[\]\[(\w+)\]|(\w+)\[(\w*)\]")


@dataclass
class Body:
    """Fields, as JSON values or texts, and files by field."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[UploadFile]] = field(default_factory=dict)


async def read_body(request: Request) -> Body:
    """Read a body of JSON or of a form.

    Raises:
        ApiError: If it is neither.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"multipart/form-data", "application/x-www-form-urlencoded"}:
        return from_form(
            await request.form(
                max_files=_MOST_FILES, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES
            )
        )
    if kind != "application/json":
        message = "The body must be application/json or multipart/form-data."
        raise ApiError(415, message, code="unsupported_media_type")
    return Body(parse_json(await request.body()))


def parse_json(text: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ApiError: If it is not one.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "The body is not JSON.", code="invalid_json") from error
    if not isinstance(content, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_json")
    return content


def from_form(form: FormData) -> Body:
    """Take a form apart; lists and objects are named as ``a[]``, ``a[b]`` and ``a[][b]``.

    Raises:
        ApiError: If a field must be JSON and is not.
    """
    body = Body()
    for name, value in form.multi_items():
        match = _BRACKETS.fullmatch(name)
        if isinstance(value, UploadFile):
            body.files.setdefault(name.removesuffix("[]"), []).append(value)
        elif match is None:
            _put(body.fields, name, value)
        elif match[1]:
            _list(body.fields, match[1]).append({match[2]: value})
        elif match[4]:
            inner = body.fields.setdefault(match[3], {})
            if isinstance(inner, dict):
                inner[match[4]] = value
        else:
            _list(body.fields, match[3]).append(value)
    return body


def _put(fields: dict[str, Any], name: str, value: str) -> None:
    """Set a field; one that comes again becomes a list, one that is empty is left out."""
    if name == "references" and value.startswith("["):
        try:
            fields[name] = json.loads(value)
        except (ValueError, RecursionError) as error:
            message = "references is not JSON."
            raise ApiError(400, message, code="invalid_json", param=name) from error
    elif name in fields:
        _list(fields, name).append(value)
    elif value:
        fields[name] = value


def _list(fields: dict[str, Any], name: str) -> list[Any]:
    """The list in a field, made of what is there."""
    there = fields.setdefault(name, [])
    if not isinstance(there, list):
        there = fields[name] = [there]
    return there
