"""A call of a pipeline: its arguments, checked and encoded, its place, its result."""

from __future__ import annotations

import difflib
import inspect
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from diffusers.utils import BaseOutput
from PIL import Image

from vap.pipelines.denoise import StepEnd
from vap.pipelines.denoiser import Guidance
from vap.pipelines.inputs import Batch
from vap.pipelines.video_prompt import VideoPrompt
from vap.shapes import PixelShape

OUTPUT_TYPES = ("pil", "np", "pt", "latent", "vae_latent")
# Arguments of the released pipelines.
_RELEASED = {
    "ref_videos": "reference_videos",
    "prompt_mot_ref": "reference_prompts",
    "prompt_embeds_mot_ref": "video_prompt",
    "negative_prompt_mot_ref": "negative_prompt",
}
_locks: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
_making_locks = threading.Lock()


@dataclass
class VideoAsPromptPipelineOutput(BaseOutput):
    """Generated videos.

    Attributes:
        frames: By ``output_type``: a list of videos, each a list of PIL images; an array
            ``[B, T, H, W, 3]`` or tensor ``[B, T, 3, H, W]`` in 0 … 1; latents; or
            latents as the VAE has them, ``[B, C, F, H, W]``.
    """

    frames: list[list[Image.Image]] | np.ndarray | torch.Tensor


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


class PlacedOnce:
    """Mixed into a diffusers pipeline: looks up the device of inputs once per call.

    Diffusers finds out by walking through every module of every component, because offloading may
    have been set up meanwhile; for vap-mini that took an eighth of its fastest generation.
    """

    _device_of_call: torch.device | None = None
    # Of a memory plan that streams blocks: then diffusers finds no component to ask.
    _device_of_plan: torch.device | None = None

    @property
    def _execution_device(self) -> torch.device:
        """Where inputs go; during a call, where they went when it began."""
        if self._device_of_call is not None:
            return self._device_of_call
        if self._device_of_plan is not None:
            return self._device_of_plan
        device: torch.device = super()._execution_device  # type: ignore[misc]
        return device

    @contextmanager
    def _alone(self, method: str, unknown: Mapping[str, Any]) -> Iterator[None]:
        """Refuse unknown arguments, and let calls of one pipeline wait for each other."""
        if unknown:
            known = [*inspect.signature(getattr(self, method)).parameters]
            raise TypeError(_unknown(next(iter(unknown)), known[:-1]))
        # Scheduler and VAE have state, so that two threads would mix their videos.
        with _making_locks:
            lock = _locks.setdefault(self, threading.RLock())
        with lock:
            outer = self._device_of_call
            self._device_of_call = self._execution_device
            try:
                yield
            finally:
                self._device_of_call = outer


def _unknown(name: str, parameters: list[str]) -> str:
    close = difflib.get_close_matches(name, parameters, n=1)
    known = _RELEASED.get(name) or (close[0] if close else None)
    hint = f"Use {known}." if known in parameters else f"It has: {', '.join(parameters)}."
    return f"There is no argument {name!r}. {hint}"
