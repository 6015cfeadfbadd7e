"""The released implementation's process.

Runs in the peer's own environment, whose ``diffusers`` is the fork that the released repository
carries. Nothing of the fork is changed. Its quantizers import torchao and fail with current
versions of it, though nothing here quantizes, so torchao is made to look absent.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.measured.job import NEGATIVE_PROMPT, PROMPT, REFERENCE_PROMPT, SEED, Job
from benchmarks.measured.serve import serve

# Makes find_spec and import alike say that there is no such module.
_ABSENT: Any = None


def load(job: Job) -> Any:
    """The pipeline of a job, in the precisions of the release's own inference scripts."""
    sys.modules["torchao"] = _ABSENT
    import diffusers

    dtype, device = getattr(torch, job.dtype), torch.device(job.device)
    wan = job.family == "wan"
    pipeline_class, transformer_class = (
        (diffusers.WanImageToVideoMOTPipeline, diffusers.WanTransformer3DMOTModel)
        if wan
        else (diffusers.CogVideoXImageToVideoMOTPipeline, diffusers.CogVideoXTransformer3DMOTModel)
    )
    if job.created_on_device:
        from benchmarks.measured.created import create_components

        components = create_components(
            Path(job.folder), job.family, transformer_class, dtype, device
        )
    else:
        components = _float32_components(job) if wan else {}
    return pipeline_class.from_pretrained(job.folder, torch_dtype=dtype, **components).to(device)


def generate(pipeline: Any, job: Job, steps: int) -> torch.Tensor:
    """One whole generation, decoded; its final latents."""
    from PIL import Image

    latest: dict[str, torch.Tensor] = {}

    def keep(_pipeline: Any, _index: int, _step: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latest.update(tensors)
        return {}

    pipeline(
        image=Image.fromarray(job.image()),
        ref_videos=[[Image.fromarray(frame) for frame in clip] for clip in job.reference_videos()],
        prompt=PROMPT,
        prompt_mot_ref=[REFERENCE_PROMPT] * job.references,
        negative_prompt=NEGATIVE_PROMPT,
        negative_prompt_mot_ref=NEGATIVE_PROMPT,
        height=job.height,
        width=job.width,
        num_frames=job.frames,
        num_inference_steps=steps,
        guidance_scale=job.guidance_scale,
        generator=torch.Generator().manual_seed(SEED),
        latents=torch.from_numpy(job.latents()).to(job.device, _latents_dtype(job)),
        output_type="pt",
        callback_on_step_end=keep,
    )
    return latest["latents"]


def _float32_components(job: Job) -> dict[str, Any]:
    from diffusers import AutoencoderKLWan
    from transformers import CLIPVisionModel

    return {
        name: model_class.from_pretrained(job.folder, subfolder=name, torch_dtype=torch.float32)
        for name, model_class in (("vae", AutoencoderKLWan), ("image_encoder", CLIPVisionModel))
    }


def _latents_dtype(job: Job) -> torch.dtype:
    """Wan keeps its latents in float32, CogVideoX in the model's precision."""
    return torch.float32 if job.family == "wan" else getattr(torch, job.dtype)


if __name__ == "__main__":
    serve(Job.load(Path(sys.argv[1])), load, generate)
