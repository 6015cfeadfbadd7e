from types import SimpleNamespace

import numpy as np
import torch

from vap.generation.preview import LatentColors, emerging, fit_colors
from vap.generation.request import demo_request
from vap.media import read_clip
from vap.pipelines.video_prompt import ReferenceSource


def pipeline_of(family, kept=(), *, predict_x0=True):
    scheduler = SimpleNamespace(
        model_outputs=list(kept), config=SimpleNamespace(predict_x0=predict_x0)
    )
    vae = SimpleNamespace(config=SimpleNamespace(scaling_factor=0.5))
    return SimpleNamespace(family=family, scheduler=scheduler, vae=vae)


def test_colors_that_latents_hold_are_found():
    request = demo_request()
    frames = read_clip(request.references[0], size=(8, 12), frame_indices=[0, 8, 16]).frames
    source = ReferenceSource("reference.mp4", "", "", 8.0, tuple(range(17)))
    mixed = torch.from_numpy(frames / 255).permute(3, 0, 1, 2)
    latents = torch.cat([mixed * 3 - 1, torch.ones(1, 3, 8, 12)]).float()
    wan = SimpleNamespace(family="wan", references=(source,), tensors={"latents": latents[None]})
    moments = torch.cat([latents * 2, latents * 0])[None]
    cogvideox = SimpleNamespace(
        family="cogvideox", references=(source,), tensors={"video_moments": moments}
    )
    for prompt in (wan, cogvideox):
        colors = fit_colors(prompt, request, pipeline_of(prompt.family))
        shown = colors.frames(latents)
        assert shown.dtype == np.uint8
        assert np.abs(shown.astype(int) - frames).max() <= 1


def test_the_predicted_video_is_shown_where_the_scheduler_keeps_it():
    latents, clean = torch.zeros(1, 4, 3, 2, 2), torch.ones(1, 4, 3, 2, 2)
    assert emerging(pipeline_of("wan", [None, clean]), latents).equal(clean[0])
    assert emerging(pipeline_of("wan", [clean], predict_x0=False), latents).equal(latents[0])
    assert emerging(pipeline_of("wan"), latents).equal(latents[0])
    assert emerging(pipeline_of("cogvideox"), latents).shape == (3, 4, 2, 2)


def test_colors_stay_in_range():
    weights = np.full((5, 3), 100.0, np.float32)
    assert LatentColors(weights).frames(torch.ones(4, 2, 3, 3)).max() == 255
