"""Checks a file from outside in another process, with limits on memory and time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
        RefusedUploadError: If it is no image, video or video prompt, exceeds a limit, or makes its
            decoder fail.
    """
    command = [sys.executable, "-P", "-m", "vap.serving.uploads.probe"]
    given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(  # noqa: S603 - our own module, and no text of a client
            [*command, str(path.absolute()), json.dumps(asdict(limits))],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.time + _START,
            check=False,
            cwd="/",
            env={**given, **_FEW},
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise RefusedUploadError(_too_much(limits)) from error
    except ValueError as error:  # it died before it answered
        raise RefusedUploadError(_too_much(limits)) from error
    if "problem" in answer:
        problem = (
            answer["problem"]
            .replace(str(path.absolute()), "The file")
            .replace(path.name, "The file")
        )
        raise RefusedUploadError(problem)
    probed = answer["probed"]
    return Probed(**{**probed, "captions": tuple(probed["captions"])})


def _too_much(limits: ProbeLimits) -> str:
    return (
        f"The file could not be decoded within {limits.time} s and {limits.memory / 1e9:.1f} GB. "
        "It is damaged, or too large: export it again, shorter or smaller."
    )
