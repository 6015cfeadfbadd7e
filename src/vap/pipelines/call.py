"""What a call of a pipeline comes to before anything is denoised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from PIL import Image

from vap.pipelines.denoise import Guidance, StepEnd
from vap.pipelines.inputs import Batch
from vap.pipelines.video_prompt import VideoPrompt
from vap.shapes import PixelShape


@dataclass(frozen=True, eq=False)
class Call:
    """A call's arguments, checked, completed and encoded; the same for both variants.

    Attributes:
        shape: Size of the videos.
        images: First frames, one a sample or one for all.
        batch: Samples, and videos of each.
        steps: Denoising steps.
        guidance: By the text and by the references.
        references: What to read, or None to run the backbone alone.
        strength: How much to read it; 0 without references.
        text: Target text ``[S, L, D]``.
        negative_text: The same, None without guidance.
        on_step_end: The user's callback.
    """

    shape: PixelShape
    images: list[Image.Image] | torch.Tensor
    batch: Batch
    steps: int
    guidance: Guidance
    references: VideoPrompt | None
    strength: float
    text: torch.Tensor
    negative_text: torch.Tensor | None
    on_step_end: StepEnd
