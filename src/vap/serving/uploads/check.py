"""Checks and decodes files from outside in another process, with limits on memory and time."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from vap.media.pixels import RGB
from vap.serving.content_filter import RefusedContentError
from vap.serving.uploads.decode import Wanted, as_json
from vap.serving.uploads.probe import Probed, ProbeLimits

_START = 20  # seconds for the process to begin, on a busy machine
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG", "TMPDIR")
# One thread each, and one arena: their memory counts.
_FEW = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class RefusedUploadError(ValueError):
    """A file that is not accepted; the message says why."""


def check_file(path: Path, limits: ProbeLimits) -> Probed:
    """Return what a file is.

    Raises:
        RefusedContentError: If the content filter refuses it.
        RefusedUploadError: If it is no image, video or video prompt, exceeds a limit, or makes its
            decoder fail.
    """
    said = _confined("probe", str(path.absolute()), limits)
    probed = _answer(said, path.absolute(), limits)["probed"]
    return Probed(**{**probed, "captions": tuple(probed["captions"])})


def decode_files(wanted: Sequence[Wanted], limits: ProbeLimits) -> list[RGB]:
    """Return the pixels of images and videos.

    Raises:
        RefusedUploadError: If one is damaged, exceeds a limit, or makes its decoder fail.
    """
    limits = replace(limits, time=limits.time * len(wanted))
    asked = [replace(each, path=each.path.absolute()) for each in wanted]
    said = io.BytesIO(_confined("decode", as_json(asked), limits))
    found = []
    for each in asked:
        shape = _answer(said.readline(), each.path, limits)["shape"]
        pixels = np.frombuffer(said.read(math.prod(shape)), np.uint8)
        if pixels.size < math.prod(shape):  # the process died
            raise RefusedUploadError(_too_much(limits))
        found.append(pixels.reshape(shape))
    return found


def _confined(module: str, question: str, limits: ProbeLimits) -> bytes:
    """Return what a module writes in a process of its own."""
    command = [sys.executable, "-P", "-m", f"vap.serving.uploads.{module}"]
    given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        return subprocess.run(  # noqa: S603 - our own module, and no text of a client
            [*command, question, json.dumps(asdict(limits))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.time + _START,
            check=False,
            cwd="/",
            env={**given, **_FEW},
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise RefusedUploadError(_too_much(limits)) from error


def _answer(line: bytes, path: Path, limits: ProbeLimits) -> dict[str, Any]:
    """Read a line of JSON; a problem in it is raised."""
    try:
        answer: dict[str, Any] = json.loads(line)
    except ValueError as error:  # it died before it answered
        raise RefusedUploadError(_too_much(limits)) from error
    if "refused" in answer:
        raise RefusedContentError(answer["refused"])
    if "problem" in answer:
        problem = answer["problem"].replace(str(path), "The file").replace(path.name, "The file")
        raise RefusedUploadError(problem)
    return answer


def _too_much(limits: ProbeLimits) -> str:
    return (
        f"The file could not be decoded within {limits.time} s and {limits.memory / 1e9:.1f} GB. "
        "It is damaged, or too large: export it again, shorter or smaller."
    )
