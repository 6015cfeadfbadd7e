"""Spread a model over processes: copies, shards, and groups that share a video.

A group works on one batch and shares one copy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from vap.shapes import Family
from vap.training.tuning_config import RunConfig, TuningStage

Gather = Callable[[int], list[int]]
"""The numbers of all processes, in their order; every process must call."""


@dataclass(frozen=True)
class Layout:
    """How processes are cut, and which of them this is."""

    copies: int = 1  # copies of the model
    shards: int = 1  # different batches of one copy
    context: int = 1  # processes that share a batch
    sharded: bool = False  # whether the weights are sharded
    rank: int = 0  # this process

    @property
    def processes(self) -> int:
        """All processes."""
        return self.copies * self.shards * self.context

    @property
    def batches(self) -> int:
        """Different batches at once."""
        return self.copies * self.shards

    @property
    def weight_shards(self) -> int:
        """Parts that every weight is cut into; 1 where no weight is sharded."""
        return self.shards * self.context if self.sharded else 1

    @property
    def spread(self) -> bool:
        """Whether no process could generate by itself."""
        return self.sharded or self.context > 1


def layout_of(run: RunConfig, processes: int, rank: int = 0) -> Layout:
    """Cut processes into copies, shards and groups that share a video."""
    shards = {"none": 1, "fsdp": processes // run.context, "hsdp": run.shard}[run.sharding]
    copies, rest = divmod(processes, max(1, shards) * run.context)
    if rest or not copies or not shards:
        group = run.context * (run.shard if run.sharding == "hsdp" else 1)
        parts = [f"{run.context} that share a video (run.context)"] if run.context > 1 else []
        if run.sharding == "hsdp":
            parts.append(f"{run.shard} that share the weights (run.shard)")
        raise ValueError(
            f"{processes} processes cannot be divided into groups of {' and of '.join(parts)}. "
            f"Start a multiple of {group}."
        )
    sharded = run.sharding != "none" and processes > 1
    return Layout(copies, shards, run.context, sharded=sharded, rank=rank)


def check_residual(recipe: TuningStage, family: Family) -> None:
    """Refuse means over references where no process has whole references.

    CogVideoX has the tokens of several references in one row, which processes that share a video
    cut anywhere, and not at the ends of references.
    """
    references, context = recipe.data.references, recipe.run.context
    added = recipe.model.method == "residual" and family == "cogvideox"
    if added and references > 1 and context > 1:
        raise ValueError(
            f"The method residual takes the mean over references (data.references is {references}) "
            f"token by token, and {context} processes that share a video (run.context) have "
            "different tokens of each. Set run.context or data.references to 1."
        )


def check_validation(every: int, layout: Layout) -> None:
    """Refuse to generate with a model that is spread over processes."""
    if every and layout.spread:
        raise ValueError(
            "Validation does not support a sharded model. Set validation.every to 0, and generate "
            "from the files that the run writes."
        )


def spread(model: nn.Module, layout: Layout, accelerator: Accelerator) -> nn.Module:
    """Give each process its part of a model."""
    if layout.context > 1:
        _share_videos(model, layout, accelerator.device.type)
    if layout.sharded:
        return _shard(model, layout, accelerator.device.type)
    if layout.context > 1:
        # Gradients are summed by hand, in `sum_gradients`: a wrapper would average them.
        return model.to(accelerator.device)
    return accelerator.prepare(model)


def _share_videos(model: Any, layout: Layout, device: str) -> None:
    """Split the tokens of each video over the processes of a context group (Ulysses)."""
    from diffusers import ContextParallelConfig
    from diffusers.hooks.context_parallel import apply_context_parallel
    from diffusers.models._modeling_parallel import ParallelConfig

    # The names that diffusers gives to the two axes of a context group.
    names = ("batches", "ring", "ulysses")
    mesh = init_device_mesh(device, (layout.batches, 1, layout.context), mesh_dim_names=names)
    config = ContextParallelConfig(ulysses_degree=layout.context)
    rank = mesh["ulysses"].get_local_rank()
    config.setup(rank, layout.context, torch.device(device), mesh["ring", "ulysses"])
    for module in model.modules():
        processor: Any = getattr(module, "processor", None)
        if hasattr(processor, "_parallel_config"):
            processor._parallel_config = ParallelConfig(context_parallel_config=config)
    apply_context_parallel(model, config, model._cp_plan)


def _shard(model: Any, layout: Layout, device: str) -> nn.Module:
    """FSDP2: each block gathers its weights when it runs; several copies make it HSDP."""
    size = layout.copies, layout.weight_shards
    mesh = init_device_mesh(device, size, mesh_dim_names=("copies", "weights"))
    if layout.copies == 1:
        mesh = mesh["weights"]
    # Each call moves its own weights to the device, so that they are never all on an accelerator.
    for block in model.expert_blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def sum_gradients(parameters: list[tuple[str, nn.Parameter]], layout: Layout) -> None:
    """Sum gradients over the processes that share a video, average them over the rest.

    Each process of a context group has the gradient of its own tokens.
    """
    if layout.context == 1:
        return
    for _, parameter in parameters:
        if layout.sharded:  # averaged over all processes already
            if parameter.grad is not None:
                parameter.grad *= layout.context
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad /= layout.batches


def no_sync(
    model: nn.Module, layout: Layout, accelerator: Accelerator
) -> contextlib.AbstractContextManager[Any]:
    """Leave gradients where they are until the last batch of a step."""
    return contextlib.nullcontext() if layout.spread else accelerator.no_sync(model)


def gather(value: int) -> list[int]:
    """See :data:`Gather`."""
    values: list[int] = gather_object([value])
    return values


def full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor that may be sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_part(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor; all of one that is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_state(model: nn.Module, keep: Callable[[str], bool]) -> dict[str, Tensor]:
    """Whole tensors of the state whose name is kept; every process must call."""
    state = model.state_dict()
    return {name: full_tensor(tensor).detach() for name, tensor in state.items() if keep(name)}


def is_writer() -> bool:
    """Whether this process writes what all have."""
    return not dist.is_initialized() or dist.get_rank() == 0
