"""Numbers of the cost model in words."""

from __future__ import annotations


def parameter_count(parameters: int) -> str:
    """``20.7B``, ``3.4M`` or ``512``."""
    for unit, scale in (("B", 1e9), ("M", 1e6)):
        if parameters >= scale:
            return f"{parameters / scale:.1f}{unit}"
    return f"{parameters:,}"
