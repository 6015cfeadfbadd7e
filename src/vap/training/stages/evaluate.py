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

from vap.data.synth import SynthPair, sample_pair
from vap.hub import load_pipeline
from vap.training.config import EvaluateStage
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
    """Generate unseen pairs in every variant, score them, keep contact sheets.

    Returns:
        The output folder, with ``results.json`` and one sheet for each condition.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    recipe.output.mkdir(parents=True, exist_ok=True)
    pipeline = load_pipeline(recipe.model, device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    results: dict[str, dict[str, float]] = {}
    for condition in recipe.render.conditions:
        pairs = [_pair(recipe, condition, index) for index in range(recipe.pairs)]
        scores: dict[str, list[float]] = {variant.name: [] for variant in VARIANTS}
        rows: list[list[Frames]] = []
        for index, pair in enumerate(pairs):
            videos = {v.name: _generate(pipeline, pair, v, recipe, seed=index) for v in VARIANTS}
            truth = _unit(pair.target.frames)
            reconstruction = _reconstruct(pipeline, pair)
            for name, video in videos.items():
                score = gap_closed(video, truth, reconstruction)
                if score is not None:
                    scores[name].append(score)
            rows.append([_unit(pair.reference.frames), truth, reconstruction, *videos.values()])
        results[condition] = {name: _mean(values) for name, values in scores.items()}
        _LOGGER.info("%s %s", condition, results[condition])
        _sheet(rows).save(recipe.output / f"{condition}.png")
    results["mean"] = _means(results)
    (recipe.output / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    return recipe.output


def _pair(recipe: EvaluateStage, condition: str, index: int) -> SynthPair:
    render = recipe.render
    return sample_pair(
        recipe.seed,
        index,
        split=render.split,
        height=render.height,
        width=render.width,
        frames=render.frames,
        effect_in_caption=1.0,
        conditions=[condition],
    )


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


def _unit(frames: NDArray[np.uint8]) -> Frames:
    return frames.astype(np.float32) / np.float32(255)


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3) if values else 0.0


def _means(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {v.name: _mean([scores[v.name] for scores in results.values()]) for v in VARIANTS}


def _sheet(rows: Sequence[Sequence[Frames]]) -> Image.Image:
    """A row for each pair: frames of reference, truth, reconstruction and every variant."""
    picked = [
        np.concatenate([video[i] for video in row for i in (len(video) // 2, len(video) - 1)], 1)
        for row in rows
    ]
    pixels = np.concatenate(picked, axis=0)
    return Image.fromarray((pixels * 255).clip(0, 255).astype(np.uint8))
