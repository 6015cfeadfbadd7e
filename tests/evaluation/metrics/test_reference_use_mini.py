from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vap.evaluation.systems.one_reference_each import OneReferenceEach
from vap.loading.pipeline import load_pipeline
from vap.media.change import change_of, reference_use
from vap.synth import sample_pair

CASES = 6
SIZE = {"height": 64, "width": 96}


@pytest.fixture(scope="module")
def pairs():
    names = ("seen", "heldout", "unknown")
    return [sample_pair(7, index, split=names[index % 3], **SIZE) for index in range(CASES)]


def uses(pipeline, pairs):
    """Reference use of each case, swapped with the next one's reference."""

    def changes(references):
        made = pipeline(
            [Image.fromarray(pair.target.frames[0]) for pair in pairs],
            [pair.target.scene_caption for pair in pairs],
            reference_videos=[clip.frames for clip in references],
            reference_prompts=[clip.scene_caption for clip in references],
            num_frames=17,
            generator=[torch.Generator().manual_seed(index) for index in range(len(pairs))],
            output_type="np",
            **SIZE,
        )
        return [change_of(video) for video in np.asarray(made.frames)]

    references = [pair.reference for pair in pairs]
    others = references[1:] + references[:1]
    shown = [change_of(clip.frames) for clip in references]
    clips = zip(changes(references), changes(others), shown, shown[1:] + shown[:1], strict=True)
    return np.array(
        [
            np.mean([reference_use(*(getattr(each, part) for each in four)) for part in PARTS])
            for four in clips
        ]
    )


PARTS = ("motion", "appearance")


@pytest.mark.slow
def test_the_bundled_model_uses_its_reference_and_shuffled_weights_do_not(pairs):
    pipeline = OneReferenceEach.of(load_pipeline("vap-mini", device="cpu"))
    own = uses(pipeline, pairs)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weights in pipeline.transformer.named_parameters():
            if "_mot_ref" in name:
                order = torch.randperm(weights.numel(), generator=generator)
                weights.copy_(weights.flatten()[order].view_as(weights))
    shuffled = uses(pipeline, pairs)
    assert own.mean() > 0.05
    assert (own > 0).sum() >= CASES - 1
    assert abs(shuffled.mean()) < 0.02
