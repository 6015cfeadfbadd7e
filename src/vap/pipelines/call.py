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
    """A call's arguments, checked, completed and encoded; the same for both variants."""

    shape: PixelShape  # Size of the videos
    images: list[Image.Image] | torch.Tensor  # First frames, one a sample or one for all
    batch: Batch  # Samples, and videos of each
    steps: int  # Denoising steps
    guidance: Guidance  # By the text and by the references
    references: VideoPrompt | None  # What to read, or None to run the backbone alone
    strength: float  # How much to read it; 0 without references
    text: torch.Tensor  # Target text [S, L, D]
    negative_text: torch.Tensor | None  # The same, None without guidance
    on_step_end: StepEnd  # The user's callback
