"""One model that stays loaded between requests."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from vap.generation.request import GenerationRequest
from vap.generation.run import load_for, model_key

Loading = Callable[[str], AbstractContextManager[object]]
"""Entered while the model of the given name is loaded."""


class LoadedModel:
    """Keeps the last request's model."""

    def __init__(self, loading: Loading = nullcontext) -> None:
        self._loading = loading
        self._loaded: tuple[str, Any] | None = None

    def pipeline(self, request: GenerationRequest) -> Any:
        """Return the model of a request, loaded unless it is the last one's."""
        key = model_key(request)
        if self._loaded is None or self._loaded[0] != key:
            # Free the last one first: the memory may not suffice for both.
            self._loaded = None
            recover()
            with self._loading(request.model):
                self._loaded = key, load_for(request)
        return self._loaded[1]


def recover() -> None:
    """Free the memory of a failure or of the last model."""
    gc.collect()
    if torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()
