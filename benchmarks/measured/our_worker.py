"""Our own process: loads a profile and generates on request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measured.job import NEGATIVE_PROMPT, PROMPT, REFERENCE_PROMPT, SEED, Job
from benchmarks.measured.serve import serve


def load(job: Job) -> Any:
    """The pipeline of a job, as a user would load it."""
    import vap

    dtype, device = getattr(torch, job.dtype), torch.device(job.device)
    components = _created(job, dtype, device) if job.created_on_device else {}
    return vap.load_pipeline(job.folder, dtype=dtype, device=device, **components, **job.options)


def generate(pipeline: Any, job: Job, steps: int) -> torch.Tensor:
    """One whole generation, decoded; its final latents."""
    latest: dict[str, torch.Tensor] = {}

    def keep(_pipeline: Any, _index: int, _step: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latest.update(tensors)
        return {}

    pipeline(
        image=job.image(),
        prompt=PROMPT,
        reference_videos=list(job.reference_videos()),
        reference_prompts=[REFERENCE_PROMPT] * job.references,
        negative_prompt=NEGATIVE_PROMPT,
        height=job.height,
        width=job.width,
        num_frames=job.frames,
        # A profile takes its share of the steps that all systems are given.
        num_inference_steps=max(1, round(pipeline.steps_share * steps)),
        guidance_scale=job.guidance_scale,
        num_videos_per_prompt=job.batch,
        # On the CPU, so that every system and device draws the same.
        generator=torch.Generator().manual_seed(SEED),
        latents=torch.from_numpy(np.ascontiguousarray(job.latents())),
        output_type="pt",
        fit="stretch",  # as the release does
        callback_on_step_end=keep,
    )
    return latest["latents"]


def _created(job: Job, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Components whose weights are drawn where they are used."""
    from benchmarks.measured.created import create_components
    from vap.pipelines.base import pipeline_class

    transformer = pipeline_class(job.family).transformer_class  # type: ignore[arg-type]
    return create_components(Path(job.folder), job.family, transformer, dtype, device)


if __name__ == "__main__":
    job_file = Path(sys.argv[1])
    serve(Job.load(job_file), load, generate)
