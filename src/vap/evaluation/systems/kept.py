"""Keep what a system loads, from one call to the next in the same process."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

Loaded = TypeVar("Loaded")

_kept: dict[str, object] = {}


def keep(key: str, load: Callable[[], Loaded]) -> Loaded:
    """Load something, unless the last call in this process was for the same key.

    What was loaded before is freed first: memory may not suffice for both.
    """
    if key not in _kept:
        free_kept()
        _kept[key] = load()
    loaded: Loaded = _kept[key]  # type: ignore[assignment]  # of the key, so of its type
    return loaded


def free_kept() -> None:
    """Free what is kept."""
    if _kept:
        import torch

        _kept.clear()
        gc.collect()
        if torch.accelerator.is_available():
            torch.accelerator.memory.empty_cache()
