"""Many cases in one batch: each video with a reference of its own."""

from __future__ import annotations

from typing import Any, Self

from vap.pipelines.inputs import Batch
from vap.pipelines.video_prompt import VideoPrompt
from vap.pipelines.wan import WanVideoAsPromptPipeline
from vap.pipelines.wan_denoiser import WanReference


class OneReferenceEach(WanVideoAsPromptPipeline):
    """A Wan pipeline in which the i-th reference belongs to the i-th video alone.

    The pipeline itself shows all references to every video of a batch. On a CPU a batch of cases
    costs two thirds of the same cases one by one.
    """

    @classmethod
    def of(cls, pipeline: Any, transformer: Any = None) -> Self:
        """The same model, its parts shared; with another transformer if one is given."""
        chosen = pipeline.transformer if transformer is None else transformer
        made = cls(
            **{**pipeline.components, "transformer": chosen.eval()},
            generation_defaults=pipeline.config.generation_defaults,
        )
        made.set_progress_bar_config(disable=True)
        return made

    def _place_reference(self, prompt: VideoPrompt, batch: Batch) -> WanReference:
        """Spread the references over the batch: ``[B, 1, …]``."""
        if len(prompt) != batch.size:
            raise ValueError(
                f"There are {len(prompt)} references for {batch.size} videos. Give as many."
            )
        # One sample with all of them, as the pipeline places it, turned to all with one each.
        placed = super()._place_reference(prompt, Batch(samples=1, videos=1))
        image = None if placed.image is None else placed.image.transpose(0, 1)
        return WanReference(placed.latents.transpose(0, 1), placed.text.transpose(0, 1), image)
