from types import SimpleNamespace

import numpy as np
import torch

from vap.generation.preview import LatentColors, emerging, fit_colors
from vap.generation.request import demo_request
from vap.media import read_clip


def decode(latents):
    """A VAE whose latents contain the colors: of one frame, then of four alike."""
    colors = ((latents[:, :3] + 1) / 3).repeat_interleave(4, dim=2)[:, :, 3:]
    return colors.permute(0, 2, 3, 4, 1).numpy()


def pipeline_of(family, kept=(), *, predict_x0=True):
    scheduler = SimpleNamespace(
        model_outputs=list(kept), config=SimpleNamespace(predict_x0=predict_x0)
    )
    return SimpleNamespace(
        family=family,
        scheduler=scheduler,
        vae=SimpleNamespace(config=SimpleNamespace(scaling_factor=0.5)),
        compression=SimpleNamespace(temporal=4),
        vae_latents=lambda latents: latents if family == "wan" else latents.transpose(1, 2),
        decode=decode,
    )


def test_colors_that_latents_hold_are_found():
    frames = read_clip(demo_request().references[0], size=(8, 12), frame_indices=[0, 8, 16]).frames
    mixed = torch.from_numpy(frames / 255).permute(3, 0, 1, 2)
    latents = torch.cat([mixed * 3 - 1, torch.ones(1, 3, 8, 12)]).float()
    wan = SimpleNamespace(family="wan", tensors={"latents": latents[None]})
    moments = torch.cat([latents * 2, latents * 0])[None]
    cogvideox = SimpleNamespace(family="cogvideox", tensors={"video_moments": moments})
    for prompt in (wan, cogvideox):
        shown = fit_colors(prompt, pipeline_of(prompt.family)).frames(latents)
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
