"""Weights of a model that may be spread over processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor


def whole_state(model: Any, keep: Callable[[str], bool]) -> dict[str, Tensor]:
    """Whole tensors of the state whose name is kept; every process must call it."""
    return {
        name: (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
        for name, tensor in model.state_dict().items()
        if keep(name)
    }


def is_writer() -> bool:
    """Whether this process writes what all have."""
    return not dist.is_initialized() or dist.get_rank() == 0
