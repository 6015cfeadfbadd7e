"""Spread a loaded pipeline over the processes of a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from vap.parallel.attention import ContextAttention
from vap.parallel.mesh import Group, Groups, Mesh
from vap.parallel.session import require_processes
from vap.parallel.tokens import split_tokens
from vap.pipelines.denoiser import Pass

PipelineT = TypeVar("PipelineT")


def parallelize(pipeline: PipelineT, mesh: Mesh | None = None) -> PipelineT:
    """Have several processes make each video of a pipeline together.

    Every process loads the same pipeline, calls this, and then makes the same calls with the same
    arguments and seeds; every one gets the result.

    Args:
        pipeline: From ``vap.load_pipeline``, on this process's device.
        mesh: How to share; by default guidance first, then heads, then tokens.

    Returns:
        The pipeline.

    Raises:
        RuntimeError: If the processes do not know each other, see
            ``vap.parallel.session.processes``.
        ValueError: If the mesh does not fit the processes or the model.
    """
    processes = require_processes()
    transformer: Any = pipeline.transformer  # type: ignore[attr-defined]
    heads = transformer.config.num_attention_heads
    if mesh is None:
        guided = pipeline.defaults.guided  # type: ignore[attr-defined]
        mesh = Mesh.choose(processes, heads, guided=guided)
    mesh.check(processes, heads)
    groups = Groups.of(mesh)
    if mesh.guidance > 1:
        pipeline.guidance_passes = SplitPasses(groups.guidance)  # type: ignore[attr-defined]
    if mesh.context > 1:
        share_tokens(transformer, groups)
    return pipeline


def share_tokens(transformer: Any, groups: Groups) -> None:
    """Split the tokens of a transformer's streams over the processes of a context group."""
    attention = ContextAttention(
        groups, split_tokens(transformer, transformer._cp_plan, groups.context)
    )
    for module in transformer.modules():
        processor: Any = getattr(module, "processor", None)
        if hasattr(processor, "_parallel_config"):
            processor._parallel_config = attention


@dataclass(frozen=True, eq=False, slots=True)
class SplitPasses:
    """Each process runs its share of the passes, then all tell each other what came out.

    A single pass, without guidance, is run by all.
    """

    group: Group

    def arrange(self, passes: Sequence[Pass]) -> tuple[Pass, ...]:
        """This process's passes."""
        if len(passes) == 1:
            return tuple(passes)
        return tuple(passes[self.group.place :: self.group.size])

    def collect(self, predictions: Sequence[torch.Tensor], passes: int) -> Sequence[torch.Tensor]:
        """The predictions of all, in the order of the passes."""
        if passes == 1:
            return predictions
        collected: list[torch.Tensor] = []
        while len(collected) < passes:
            # Who has no pass left in the last round sends one that nobody keeps.
            turn = min(len(collected) // self.group.size, len(predictions) - 1)
            mine = predictions[turn].contiguous()
            round_ = [torch.empty_like(mine) for _ in range(self.group.size)]
            dist.all_gather(round_, mine, group=self.group.channel)
            collected += round_
        return collected[:passes]
