"""The model in the package is what its model card says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vap.evaluation.metrics.gap import changed_error, gap_closed, still
from vap.files.names import BUNDLED_FOLDER
from vap.generation.request import demo_request
from vap.generation.run import generate
from vap.loading.pipeline import load_pipeline
from vap.mini.training.mini_recipe import DemoStage
from vap.mini.training.stages.vae_stage import to_video
from vap.synth import sample_pair
from vap.training.recipe import load_recipe

FOLDER = BUNDLED_FOLDER / "vap-mini"
RECIPE = Path("vap-mini/6-demo")
LARGEST = 19e6


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline("vap-mini", device="cpu")


@pytest.fixture(scope="module")
def pair():
    recipe = load_recipe(RECIPE)
    assert isinstance(recipe, DemoStage)
    return sample_pair(
        recipe.seed,
        recipe.index,
        split=recipe.render.split,
        height=64,
        width=96,
        frames=17,
        conditions=recipe.render.conditions,
    )


def unit(frames):
    return frames.astype(np.float32) / 255


@torch.no_grad()
def autoencoded(pipeline, frames):
    latents = pipeline.vae.encode(to_video(frames).unsqueeze(0)).latent_dist.mode()
    return pipeline.decode(latents, image=frames[0])[0]


def test_weights_are_small_and_half_precision():
    weights = sorted(FOLDER.glob("*/*.safetensors"))

    assert sum(path.stat().st_size for path in weights) < LARGEST
    assert all(t.dtype == torch.float16 for path in weights for t in load_file(path).values())


def test_the_folder_names_no_place_on_another_machine():
    for path in FOLDER.glob("**/*.json"):
        assert "_name_or_path" not in path.read_text(encoding="utf-8")


def test_the_demo_is_the_pair_that_its_recipe_renders(pair):
    described = json.loads((BUNDLED_FOLDER / "demo/demo.json").read_text(encoding="utf-8"))

    assert described["prompt"] == pair.target.scene_caption
    assert described["reference_prompt"] == pair.reference.scene_caption
    assert described["condition"] == pair.target.condition


def test_the_demo_shows_the_effect_and_only_the_reference_tells_it(pipeline, pair):
    truth = unit(pair.target.frames)
    bounds = (still(truth), autoencoded(pipeline, pair.target.frames))
    request = demo_request()
    told = unit(generate(request, pipeline).frames)
    untold = pipeline(
        str(request.image),
        request.prompt,
        num_inference_steps=12,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(request.seed or 0),
    ).frames[0]

    with_reference, without = (
        gap_closed(*(changed_error(clip, truth) for clip in (video, *bounds)))
        for video in (told, np.asarray(untold))
    )

    assert with_reference is not None
    assert without is not None
    assert with_reference > 0.5
    assert with_reference > without + 0.2
