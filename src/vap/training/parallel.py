"""Spread a model over processes: copies, shards, and groups that share a video.

One mesh of (copies, shards, context); a context group works on one batch and shares one copy.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from vap.training.processes import cut_of
from vap.training.tuning_config import RunConfig


@dataclass(frozen=True)
class Layout:
    """A process's place among all.

    Attributes:
        data_rank: Which of the different batches of a step is this process's.
        data_processes: Different batches of a step.
        sharded: Whether the weights are sharded.
        context: Processes that share a video.
        mesh: Axes ``copies``, ``shards``, ``ring``, ``ulysses``; None for a single process.
    """

    data_rank: int = 0
    data_processes: int = 1
    sharded: bool = False
    context: int = 1
    mesh: DeviceMesh | None = None

    @property
    def copies(self) -> int:
        """Copies of the model over all processes."""
        return 1 if self.mesh is None else self.mesh["copies"].size()

    @property
    def weight_shards(self) -> int:
        """Parts that every weight is cut into; 1 where no weight is sharded."""
        return self.mesh.size() // self.copies if self.sharded and self.mesh is not None else 1


def layout_of(run: RunConfig, accelerator: Accelerator) -> Layout:
    """Place this process."""
    processes = accelerator.num_processes
    cut = cut_of(run, processes)
    if processes == 1:
        return Layout()
    mesh = init_device_mesh(
        accelerator.device.type,
        (cut.copies, cut.shards, 1, cut.context),
        # The names that diffusers gives to the two axes of a context group.
        mesh_dim_names=("copies", "shards", "ring", "ulysses"),
    )
    return Layout(
        accelerator.process_index // cut.context,
        cut.batches,
        sharded=cut.sharded,
        context=cut.context,
        mesh=mesh,
    )


def gather(value: int) -> list[int]:
    """The numbers of all processes, in their order; every process must call."""
    values: list[int] = gather_object([value])
    return values


def spread(model: nn.Module, layout: Layout, accelerator: Accelerator) -> nn.Module:
    """Give each process its part of a model."""
    if layout.context > 1:
        share_videos(model, layout)
    if layout.sharded:
        return _shard(model, layout, accelerator.device)
    if layout.context > 1:
        # Gradients are summed by hand, in `sum_gradients`: a wrapper would average them.
        return model.to(accelerator.device)
    return accelerator.prepare(model)


def share_videos(model: Any, layout: Layout) -> None:
    """Split the tokens of each video over the processes of a context group (Ulysses)."""
    from diffusers import ContextParallelConfig
    from diffusers.hooks.context_parallel import apply_context_parallel
    from diffusers.models._modeling_parallel import ParallelConfig

    assert layout.mesh is not None
    mesh = layout.mesh["ring", "ulysses"]
    config = ContextParallelConfig(ulysses_degree=layout.context)
    rank = layout.mesh["ulysses"].get_local_rank()
    config.setup(rank, layout.context, torch.device(mesh.device_type), mesh)
    for module in model.modules():
        processor: Any = getattr(module, "processor", None)
        if hasattr(processor, "_parallel_config"):
            processor._parallel_config = ParallelConfig(context_parallel_config=config)
    apply_context_parallel(model, config, model._cp_plan)


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
        parameter.grad /= layout.data_processes


def no_sync(
    model: nn.Module, layout: Layout, accelerator: Accelerator
) -> contextlib.AbstractContextManager[Any]:
    """Leave gradients where they are until the last batch of a step."""
    if layout.sharded or layout.context > 1:
        return contextlib.nullcontext()
    return accelerator.no_sync(model)


def full_tensor(tensor: Tensor) -> Tensor:
    """All of a tensor that may be sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local_part(tensor: Tensor) -> Tensor:
    """This process's shard of a tensor; all of one that is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _shard(model: Any, layout: Layout, device: torch.device) -> nn.Module:
    """FSDP2: each block gathers its weights when it runs; several copies make it HSDP."""
    assert layout.mesh is not None
    copies = layout.copies
    weights = init_device_mesh(
        device.type, (copies, layout.weight_shards), mesh_dim_names=("copies", "weights")
    )
    mesh = weights if copies > 1 else weights["weights"]
    # Each call moves its own weights to the device, so that no accelerator ever holds them all.
    for block in model.expert_blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)
