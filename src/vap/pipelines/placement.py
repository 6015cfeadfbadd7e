"""Where a pipeline's inputs go, looked up once a call.

Diffusers finds out by walking through every module of every component, because offloading may
have been set up meanwhile. A call asks a dozen times and nothing moves that answer while it runs;
for vap-mini the walks took an
eighth of its fastest generation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


class PlacedOnce:
    """Mixed into a diffusers pipeline; see :func:`placed_once`."""

    _device_of_call: torch.device | None = None

    @property
    def _execution_device(self) -> torch.device:
        """Where inputs go; during a call, where they went when it began."""
        if self._device_of_call is not None:
            return self._device_of_call
        device: torch.device = super()._execution_device  # type: ignore[misc]
        return device


def placed_once(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Let a pipeline's method ask where inputs go when it begins, and no more until it ends."""

    @functools.wraps(method)
    def call(pipeline: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        outer = pipeline._device_of_call
        pipeline._device_of_call = pipeline._execution_device
        try:
            return method(pipeline, *args, **kwargs)
        finally:
            pipeline._device_of_call = outer

    return call
