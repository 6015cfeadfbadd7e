"""Is the reference of a generation used?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vap.generation.request import GenerationRequest
from vap.generation.run import Generation, OnStage, OnStep, generate

if TYPE_CHECKING:
    from vap.pipelines.reference_report import ReferenceReport


def check_can_compare(request: GenerationRequest, other: Path | None = None) -> None:
    """Refuse a request of which there is nothing to compare.

    Raises:
        ValueError: If it has no reference.
        MediaError: If the other reference is not a video.
    """
    from vap.media import probe_clip

    if not request.references and request.video_prompt is None:
        raise ValueError("A reference is missing. Give one with references (--reference).")
    if other is not None:
        probe_clip(other)


def check_reference(
    made: Generation,
    pipeline: Any,
    *,
    other: Path | None = None,
    other_prompt: str = "",
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
) -> ReferenceReport:
    """Make a video again without its reference, and with another one, and compare.

    Args:
        made: The video.
        pipeline: What made it.
        other: A reference with another effect.
        other_prompt: Its caption.
        on_stage: Called with the name of each stage when it starts.
        on_step: Called with the number of finished denoising steps and their total.
    """
    from vap.pipelines.reference_report import report_on

    request = made.request
    alone = replace(request, references=(), reference_prompts=(), video_prompt=None)
    requests = {"none": alone}
    if other is not None:
        prompts = (other_prompt,) if other_prompt else ()
        requests["other"] = replace(alone, references=(other,), reference_prompts=prompts)
    videos = {"own": made.frames}
    for name, each in requests.items():
        again = generate(each, pipeline, checked=True, on_stage=on_stage, on_step=on_step)
        videos[name] = again.frames
    return report_on(
        videos,
        reference=list(request.references) or None,
        other=other,
        captioned=any(request.reference_prompts) or request.video_prompt is not None,
    )
