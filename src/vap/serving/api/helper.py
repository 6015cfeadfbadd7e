"""Slow work in a process beside the service, which stays free for requests and of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio
import anyio.to_process

from vap.serving.api.errors import ApiError

_Value = TypeVar("_Value")


async def in_helper(
    limiter: anyio.CapacityLimiter, work: Callable[..., _Value], *given: Any
) -> _Value:
    """Call an importable function in another process, which waits there for the next call.

    Raises:
        ApiError: If the process dies, most likely of too little memory.
    """
    try:
        return await anyio.to_process.run_sync(work, *given, limiter=limiter)
    except anyio.BrokenWorkerProcess as error:
        message = "The process for this was killed; the memory may not suffice. Try again later."
        raise ApiError(503, message, code="overloaded") from error
