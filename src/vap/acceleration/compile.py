"""torch.compile of the block that a transformer repeats; on a GPU not yet measured."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch

# Kinds of blocks (first, other and last with an expert, without one) times states of their
# memories: ten in Wan, and six where references are recorded and read. Torch's own limit is eight;
# past it, it would silently not compile.
_VARIANTS = 24


def compile_blocks(blocks: Iterable[torch.nn.Module], **options: Any) -> None:
    """Compile blocks in place, those of a kind once; names of weights stay.

    Blocks fill their memory at the first step of a generation, which later steps read. So all is
    compiled during two steps, and nothing later for as long as the size of the videos stays.
    """
    limit = {"recompile_limit": _VARIANTS}
    if "recompile_limit" not in inspect.signature(torch.compile).parameters:
        # Torch before 2.13 has one limit for everything in the process.
        config: Any = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, limit.pop("recompile_limit"))
    for block in blocks:
        block.compile(**{"dynamic": False, **limit, **options})
