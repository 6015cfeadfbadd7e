"""One video by several processes: each runs this, and the first gets the frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vap.files.folders import GenerationDefaults
from vap.generation.request import GenerationRequest, check_request
from vap.generation.run import Generation, OnStage, OnStep, generate, load_for
from vap.parallel.apply import parallelize
from vap.parallel.mesh import Mesh
from vap.parallel.session import own_device, processes
from vap.process import is_first

_SCALES = ("guidance_scale", "reference_guidance_scale")


def generate_together(
    request: GenerationRequest,
    mesh: Mesh | None = None,
    *,
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
) -> Generation:
    """Make the video of a request with all processes that ``torchrun`` started.

    All get the same request. The first process gets the video, the others all but its frames. By
    default ``mesh`` shares guidance first, then heads, then tokens.
    """
    check_request(request)
    device = own_device(request.device)

    def load(asked: GenerationRequest) -> Any:
        pipeline = load_for(replace(asked, device=device))
        return parallelize(pipeline, _mesh_for(asked, pipeline, mesh, count))

    with processes(device) as count:
        if mesh is not None:
            mesh.check(count)
        return generate(
            request,
            load=load,
            decode=is_first(),
            checked=True,
            on_stage=on_stage,
            on_step=on_step,
        )


def _mesh_for(request: GenerationRequest, pipeline: Any, mesh: Mesh | None, processes: int) -> Mesh:
    """The mesh asked for, or one in which every process has something of its own to do."""
    asked = {name: getattr(request, name) for name in _SCALES}
    scales = {name: scale for name, scale in asked.items() if scale is not None}
    settings: GenerationDefaults = replace(pipeline.defaults, **scales)
    if mesh is None:
        heads = pipeline.transformer.config.num_attention_heads
        return Mesh.choose(processes, heads, guided=settings.guided)
    if mesh.guidance > 1 and not settings.guided:
        raise ValueError(
            f"{mesh} splits the passes of guidance, but this run has only one: the text guidance "
            f"is {settings.guidance_scale:g}, the reference guidance "
            f"{settings.reference_guidance_scale:g}. Leave guidance out of the mesh, or raise a "
            "scale above 1."
        )
    return mesh
