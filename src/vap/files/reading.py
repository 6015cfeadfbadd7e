"""One boundary around what is read from a user's files: whatever fails there is about the file."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar

from vap.extras import MissingExtraError

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

_loading = threading.RLock()
_COPY_AGAIN = "Copy it again from where it came from, or correct it."


@contextmanager
def reading(path: Path, advice: str = _COPY_AGAIN) -> Iterator[None]:
    """Turn any failure while reading a file or folder into an error that names it.

    Errors that name it already, of memory, and of a missing extra pass as they are.
    """
    try:
        yield
    except BaseException as error:
        # Rust code (tokenizers, safetensors) panics with what is no Exception.
        panic = type(error).__name__ == "PanicException"
        if not (panic or isinstance(error, Exception)) or is_out_of_memory(error):
            raise
        named = isinstance(error, ValueError | OSError) and str(path) in str(error)
        if named or isinstance(error, MissingExtraError):
            raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{path} cannot be used: {type(error).__name__}: {said[:600]} {advice}"
        ) from error


def one_at_a_time(load: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Let threads load one after the other: the libraries change torch itself meanwhile."""

    @functools.wraps(load)
    def locked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        with _loading:
            return load(*args, **kwargs)

    return locked


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; on a CPU, torch raises a RuntimeError for it."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)
