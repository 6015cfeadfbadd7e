"""One video made by several processes, exact to rounding.

Three ways, which multiply: *guidance* gives the conditional and the unconditional pass to
different processes; *Ulysses* and *ring* share the tokens of a pass, meeting in self-attention:
Ulysses by exchanging heads for tokens, ring by passing keys and values around. Everything else is
done by each process on the tokens that it has, or by all alike.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vap.parallel.apply import parallelize as parallelize
    from vap.parallel.mesh import Mesh as Mesh
    from vap.parallel.session import processes as processes

_HOMES = {
    "Mesh": "vap.parallel.mesh",
    "parallelize": "vap.parallel.apply",
    "processes": "vap.parallel.session",
}

__all__ = ["Mesh", "parallelize", "processes"]


def __getattr__(name: str) -> Any:
    """Resolve a public name when it is first used: a command line should not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(
            f"module 'vap.parallel' has no attribute {name!r}; it has {', '.join(_HOMES)}"
        )
    return getattr(importlib.import_module(_HOMES[name]), name)
