"""Stage ``clips``: what a trained pipeline makes of rendered pairs, beside the truth, in shards."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vap.evaluation.systems.bounds import reconstructed
from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.files.weights import save_tensors
from vap.loading.pipeline import load_pipeline
from vap.media.pixels import to_uint8
from vap.mini.training.earlier import output_of
from vap.mini.training.mini_recipe import ClipsStage
from vap.synth import sample_pair

_LOGGER = logging.getLogger(__name__)
_PAIRS_AT_ONCE = 8
_ORIGIN = "origin"
TENSORS = ("truth", "made", "decoded")
"""Of a shard, ``uint8 [N, T, H, W, 3]``: targets, what the pipeline makes of their references and
images, and what its autoencoder makes of the targets."""


def run(recipe: ClipsStage) -> Path:
    """Write the shards of a recipe; those that are there already are kept."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    pipeline = load_pipeline(output_of("export", recipe.pipeline), device="cpu")
    maker = OneReferenceEach.of(pipeline)
    recipe.output.mkdir(parents=True, exist_ok=True)
    origin = json.dumps(
        recipe.model_dump(mode="json", include={"seed", "shard_size", "render"}), sort_keys=True
    )
    for first in range(0, recipe.pairs, recipe.shard_size):
        place = recipe.output / f"clips-{first:08d}.safetensors"
        if _is_there(place, origin):
            continue
        parts = [
            _made(maker, recipe, range(at, min(at + _PAIRS_AT_ONCE, first + recipe.shard_size)))
            for at in range(first, first + recipe.shard_size, _PAIRS_AT_ONCE)
        ]
        tensors = {name: torch.cat([part[name] for part in parts]) for name in TENSORS}
        save_tensors(tensors, place, {_ORIGIN: origin})
        _LOGGER.info("made clips %d to %d", first, first + recipe.shard_size)
    return recipe.output


def _is_there(place: Path, origin: str) -> bool:
    """Whether a shard has been written; one of another recipe is refused."""
    if not place.exists():
        return False
    try:
        with safe_open(place, framework="pt") as shard:
            found = (shard.metadata() or {}).get(_ORIGIN)
    except SafetensorError as error:
        raise ValueError(
            f"{place} is damaged ({error}). Remove it and run the stage again."
        ) from error
    if found != origin:
        raise ValueError(
            f"{place} was written by another recipe: seed, shard_size or render differ. Choose "
            "another output folder, or remove the shards of this one."
        )
    return True


@torch.no_grad()
def _made(maker: Any, recipe: ClipsStage, indices: range) -> dict[str, Tensor]:
    """The clips of some pairs; no caption names the effect."""
    pairs = [sample_pair(recipe.seed, i, **recipe.render.arguments) for i in indices]
    made = maker(
        [Image.fromarray(pair.target.frames[0]) for pair in pairs],
        [pair.target.scene_caption for pair in pairs],
        reference_videos=[pair.reference.frames for pair in pairs],
        reference_prompts=[pair.reference.scene_caption for pair in pairs],
        generator=[torch.Generator().manual_seed(index) for index in indices],
    ).frames
    return {
        "truth": torch.from_numpy(np.stack([pair.target.frames for pair in pairs])),
        "made": _bytes("made", [*made]),
        "decoded": _bytes("decoded", [reconstructed(maker, pair.target.frames) for pair in pairs]),
    }


def _bytes(name: str, clips: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(to_uint8(name, np.stack(clips)))
