"""Stage ``demo``: the reference and the image that demonstrate a trained model."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from vap.media import write_video
from vap.mini.training.mini_recipe import DemoStage
from vap.synth import sample_pair

_REFERENCE = "reference.mp4"
_IMAGE = "image.png"


def run(recipe: DemoStage) -> Path:
    """Render one unseen pair and write all of it but the target's video."""
    pair = sample_pair(recipe.seed, recipe.index, effect_in_caption=0.0, **recipe.render.arguments)
    recipe.output.mkdir(parents=True, exist_ok=True)
    write_video(pair.reference.frames, recipe.output / _REFERENCE, fps=recipe.fps)
    Image.fromarray(pair.target.frames[0]).save(recipe.output / _IMAGE, optimize=True)
    content = {
        "reference": _REFERENCE,
        "reference_prompt": pair.reference.scene_caption,
        "image": _IMAGE,
        "prompt": pair.target.scene_caption,
        "seed": recipe.generation_seed,
        "condition": pair.target.condition,
    }
    text = json.dumps(content, indent=2) + "\n"
    (recipe.output / "demo.json").write_text(text, encoding="utf-8")
    return recipe.output
