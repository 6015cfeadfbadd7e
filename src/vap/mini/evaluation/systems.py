"""What is compared; the repeated first frame and the autoencoder bound what is possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from vap.evaluation.metrics.gap import Video, still
from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.mini.evaluation.cases import Case
from vap.synth import SynthClip

TITLES: Mapping[str, str] = {
    "static": "static: the first frame repeated",
    "backbone": "backbone, caption without the effect",
    "backbone_effect": "backbone, caption with the effect",
    "lora": "backbone, a LoRA for each condition",
    "single_branch": "single branch",
    "unidirectional": "unidirectional attention",
    "residual": "residual addition",
    "shared_positions": "shared positions",
    "vap": "**VAP**",
    "vae": "autoencoder's reconstruction of the truth",
    "truth": "the truth itself",
}
"""Every system and what tables call it, in their order."""

BOUNDS = ("static", "vae")
"""The two that *gap closed* is measured between."""


class System(Protocol):
    """One way to animate the images of cases."""

    def videos(self, cases: Sequence[Case]) -> list[Video]:
        """One video ``[T, H, W, 3]`` in 0 to 1 for each case."""
        ...


class Static:
    """The first frame repeated."""

    def videos(self, cases: Sequence[Case]) -> list[Video]:
        """Stills."""
        return [still(case.truth) for case in cases]


class Truth:
    """The true target, to see what the classifier makes of it."""

    def videos(self, cases: Sequence[Case]) -> list[Video]:
        """Rendered clips."""
        return [case.truth for case in cases]


@dataclass(frozen=True)
class Autoencoded:
    """The autoencoder's reconstruction of the true target.

    Attributes:
        pipeline: Whose autoencoder.
    """

    pipeline: Any

    @torch.no_grad()
    def videos(self, cases: Sequence[Case]) -> list[Video]:
        """Encoded and decoded clips, one at a time: they are long for a decoder."""
        processor, vae = self.pipeline.video_processor, self.pipeline.vae
        made = []
        for case in cases:
            frames = [Image.fromarray(frame) for frame in case.pair.target.frames]
            latents = vae.encode(processor.preprocess_video(frames)).latent_dist.mode()
            decoded = vae.decode(latents).sample
            made.append(processor.postprocess_video(decoded, output_type="np")[0])
        return made


def check_steps(steps: int | None) -> None:
    """Refuse to generate in no steps."""
    if steps is not None and steps < 1:
        raise ValueError(f"steps={steps}; at least one denoising step is needed.")


@dataclass(frozen=True)
class Generation:
    """How videos are generated; None is the model's own.

    Attributes:
        steps: Denoising steps.
        guidance_scale: Classifier-free guidance; 1 turns it off.
        reference_guidance_scale: Guidance by the reference; 1 turns it off.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    reference_guidance_scale: float | None = None

    def __post_init__(self) -> None:
        check_steps(self.steps)


@dataclass(frozen=True)
class Generated:
    """A pipeline, told what to do by a reference, a caption, or nothing.

    Attributes:
        pipeline: What generates.
        settings: How.
        reference: Whether each case's reference is given.
        effect: Whether the captions tell the effect, and guide as strongly as references do:
            away from the captions that do not tell it.
    """

    pipeline: OneReferenceEach
    settings: Generation
    reference: bool = False
    effect: bool = False

    def videos(self, cases: Sequence[Case]) -> list[Video]:
        """Generated clips; a case's noise depends on its index alone, not on the system."""
        targets = [case.pair.target for case in cases]
        told: dict[str, Any] = {}
        if self.reference:
            references = [case.pair.reference for case in cases]
            told = {
                "reference_videos": [clip.frames for clip in references],
                "reference_prompts": [clip.scene_caption for clip in references],
            }
        if self.effect:
            told = self._effect_guidance(targets)
        count, height, width, _ = targets[0].frames.shape
        output: Any = self.pipeline(
            [Image.fromarray(case.image) for case in cases],
            [clip.caption if self.effect else clip.scene_caption for clip in targets],
            height=height,
            width=width,
            num_frames=count,
            num_inference_steps=self.settings.steps,
            reference_guidance_scale=self.settings.reference_guidance_scale,
            generator=[torch.Generator().manual_seed(case.spec.index) for case in cases],
            output_type="np",
            **{"negative_prompt": "", "guidance_scale": self.settings.guidance_scale, **told},
        )
        return list(np.asarray(output.frames))

    def _effect_guidance(self, targets: Sequence[SynthClip]) -> dict[str, Any]:
        """Arguments that guide by the effect in the caption as references would by theirs."""
        scale = self.settings.reference_guidance_scale
        if scale is None:
            scale = self.pipeline.defaults.reference_guidance_scale
        if scale <= 1.0 or self.settings.guidance_scale is not None:
            return {}
        return {
            "negative_prompt": [clip.scene_caption for clip in targets],
            "guidance_scale": scale,
        }
