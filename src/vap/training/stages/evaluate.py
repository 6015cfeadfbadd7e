"""Stage ``evaluate``: how much of the true change a model makes, by condition.

*Gap closed* compares three errors over the pixels that the true target changes: of the first frame
repeated (0), of the autoencoder's reconstruction of the truth (1), and of the generated video.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vap.data.synth import SynthPair
from vap.hub import load_pipeline
from vap.media import SheetRow, write_sheet
from vap.training.config import EvaluateStage
from vap.training.stages.latents import render_pairs
from vap.training.stages.vae import to_video

_LOGGER = logging.getLogger(__name__)
_CHANGED = 0.08

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class Variant:
    """One way of telling the model what to do.

    Attributes:
        name: As it stands in the results.
        reference: Whether the reference video is given.
        effect: Whether the caption tells the effect.
    """

    name: str
    reference: bool
    effect: bool


VARIANTS = (
    Variant("reference", reference=True, effect=False),
    Variant("neither", reference=False, effect=False),
    Variant("caption", reference=False, effect=True),
)


def gap_closed(generated: Frames, truth: Frames, reconstruction: Frames) -> float | None:
    """Share of the way from the repeated first frame to the reconstructed truth.

    Args:
        generated: Video ``[T, H, W, 3]`` in 0 … 1.
        truth: The true target, of the same shape.
        reconstruction: The autoencoder's version of it.

    Returns:
        1 at best, 0 for a still video, negative for worse; None if too little changes for the
        autoencoder to beat the still video.
    """
    still = np.broadcast_to(truth[:1], truth.shape)
    changed = np.abs(truth - still).max(axis=-1) > _CHANGED

    def error(video: Frames) -> float:
        return float(np.abs(video - truth)[changed].mean()) if changed.any() else 0.0

    room = error(still) - error(reconstruction)
    return (error(still) - error(generated)) / room if room > 0 else None


def run(recipe: EvaluateStage) -> Path:
    """Generate unseen pairs in every variant and score them.

    Returns:
        The output folder: ``results.json``, a sheet of the first pair of each condition, and
        ``overview.png`` with what the reference made of all of these.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    recipe.output.mkdir(parents=True, exist_ok=True)
    pipeline = load_pipeline(recipe.model, device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    results: dict[str, dict[str, float]] = {}
    overview = []
    for condition in recipe.render.conditions:
        trials = [_try(pipeline, recipe, condition, index) for index in range(recipe.pairs)]
        results[condition] = {v.name: _mean([t.score(v) for t in trials]) for v in VARIANTS}
        _LOGGER.info("%s %s", condition, results[condition])
        write_sheet(recipe.output / f"{condition}.png", trials[0].rows(), columns=6)
        overview.append(trials[0].summary(condition))
    results["mean"] = {
        v.name: _mean([scores[v.name] for scores in results.values()]) for v in VARIANTS
    }
    (recipe.output / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    write_sheet(recipe.output / "overview.png", overview, columns=6)
    return recipe.output


@dataclass(frozen=True)
class _Trial:
    """An unseen pair, the autoencoder's version of its target, and what the model made."""

    pair: SynthPair
    reconstruction: Frames
    videos: Mapping[str, Frames]

    def score(self, variant: Variant) -> float | None:
        truth = self.pair.target.frames.astype(np.float32) / np.float32(255)
        return gap_closed(self.videos[variant.name], truth, self.reconstruction)

    def rows(self) -> list[SheetRow]:
        """All of it, for a sheet."""
        told = {variant.name: f"told by {variant.name}" for variant in VARIANTS}
        return [
            SheetRow("reference", self.pair.reference.frames),
            SheetRow("truth", self.pair.target.frames),
            SheetRow("truth, autoencoded", self.reconstruction),
            *(SheetRow(told[name], video) for name, video in self.videos.items()),
        ]

    def summary(self, condition: str) -> SheetRow:
        """Start, middle and end of the reference, then of the result."""
        reference = self.pair.reference.frames.astype(np.float32) / np.float32(255)
        result = self.videos[VARIANTS[0].name]
        middle, last = len(result) // 2, len(result) - 1
        frames = [clip[i] for clip in (reference, result) for i in (0, middle, last)]
        return SheetRow(condition, np.stack(frames), "reference, then result")


def _try(pipeline: Any, recipe: EvaluateStage, condition: str, index: int) -> _Trial:
    pair = _pair(recipe, condition, index)
    videos = {v.name: _generate(pipeline, pair, v, recipe, seed=index) for v in VARIANTS}
    return _Trial(pair, _reconstruct(pipeline, pair), videos)


def _pair(recipe: EvaluateStage, condition: str, index: int) -> SynthPair:
    render = recipe.render.model_copy(update={"conditions": (condition,)})
    (pair,) = render_pairs(render, recipe.seed, range(index, index + 1))
    return pair


def _generate(
    pipeline: Any, pair: SynthPair, variant: Variant, recipe: EvaluateStage, seed: int
) -> Frames:
    references: dict[str, Any] = {}
    if variant.reference:
        references = {
            "reference_videos": [pair.reference.frames],
            "reference_prompts": [pair.reference.scene_caption],
        }
    output = pipeline(
        Image.fromarray(pair.target.frames[0]),
        pair.target.caption if variant.effect else pair.target.scene_caption,
        height=recipe.render.height,
        width=recipe.render.width,
        num_frames=recipe.render.frames,
        num_inference_steps=recipe.steps,
        guidance_scale=recipe.guidance_scale,
        negative_prompt="",
        generator=torch.Generator().manual_seed(seed),
        **references,
    )
    return np.asarray(output.frames[0], dtype=np.float32)


@torch.no_grad()
def _reconstruct(pipeline: Any, pair: SynthPair) -> Frames:
    video = to_video(pair.target.frames).unsqueeze(0)
    latents = pipeline.vae.encode(video).latent_dist.mode()
    decoded = pipeline.vae.decode(latents).sample[0]
    return ((decoded + 1) / 2).permute(1, 2, 3, 0).numpy()


def _mean(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 3) if known else 0.0
