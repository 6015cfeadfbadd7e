"""torch.compile of the block that a transformer repeats."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

import torch

# Kinds of blocks (first, other and last with an expert, without one) times what their memories
# hold: ten in Wan, and six where references are recorded and read. Torch's own limit is eight;
# past it, it would silently not compile.
_VARIANTS = 24


def compile_blocks(transformer: Any, **options: Any) -> None:
    """Compile every block; the same code is compiled once and shared by all of a kind.

    At the first step of a generation blocks fill their memory, which later steps read. So
    everything is compiled during the first two steps of the first generation, and nothing later
    for as long as the size of the videos stays. Inductor's speed on a GPU: not yet measured.
    """
    compile_each(transformer.expert_blocks, **options)


def compile_each(blocks: Iterable[torch.nn.Module], **options: Any) -> None:
    """Compile modules that run the same code, in place; names of weights stay."""
    limit = {"recompile_limit": _VARIANTS}
    if "recompile_limit" not in inspect.signature(torch.compile).parameters:
        # Torch before 2.13 has one limit for everything in the process.
        config: Any = torch._dynamo.config
        config.recompile_limit = max(config.recompile_limit, limit.pop("recompile_limit"))
    for block in blocks:
        block.compile(**{"dynamic": False, **limit, **options})
