"""Spread a loaded pipeline over the processes of a mesh."""

from __future__ import annotations

from typing import Any, TypeVar

from vap.parallel.attention import ContextAttention
from vap.parallel.guidance import SplitPasses
from vap.parallel.mesh import Groups, Mesh
from vap.parallel.session import require_processes
from vap.parallel.tokens import split_tokens

PipelineT = TypeVar("PipelineT")


def parallelize(pipeline: PipelineT, mesh: Mesh | None = None) -> PipelineT:
    """Have several processes make each video of a pipeline together.

    Every process loads the same pipeline, calls this, and then makes the same calls with the same
    arguments and seeds; every one gets the result.

    Args:
        pipeline: From :func:`vap.load_pipeline`, on this process's device.
        mesh: How to share; by default guidance first, then heads, then tokens.

    Returns:
        The pipeline.

    Raises:
        RuntimeError: If the processes do not know each other, see
            :func:`vap.parallel.session.processes`.
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
