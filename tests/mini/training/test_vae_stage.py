"""The autoencoder's stage: what trains is what diffusers loads, and its loss."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan

from vap.mini.training.stages.vae_stage import VAETask
from vap.training.recipe import parse_recipe

RECIPE = {
    "stage": "vae",
    "output": "runs/tiny",
    "loop": {"steps": 1, "batch_size": 2},
    "render": {"height": 16, "width": 32, "frames": 9, "drawn": 1.0},
    "model": {"base_dim": 4, "decoder_base_dim": 4, "z_dim": 4},
    "statistics_clips": 1,
}


def task(**changes):
    return VAETask(parse_recipe({**RECIPE, **changes}))


def test_the_network_that_trains_is_the_one_that_diffusers_loads(tmp_path):
    trained = task()
    trained.save(tmp_path)
    stock = AutoencoderKLWan.from_pretrained(tmp_path / "vae").eval()
    video = trained.batch(0)
    with torch.no_grad():
        ours, theirs = (
            vae.decode(vae.encode(video).latent_dist.mode()).sample for vae in (trained.vae, stock)
        )
    assert type(stock) is AutoencoderKLWan
    assert theirs.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_weights_of_the_loss_add_up():
    def loss(**weights):
        made = task(**{"l1_weight": 0, "gradient_weight": 0, "kl_weight": 0, **weights})
        return made.loss(made.model, made.batch(0), torch.Generator().manual_seed(0))

    squared = loss(mse_weight=2.0)
    assert squared["loss"].item() == pytest.approx(2 * 4 / 10 ** (squared["psnr"].item() / 10))
    both = loss(mse_weight=2.0, l1_weight=0.5)
    assert both["loss"].item() == pytest.approx(
        squared["loss"].item() + 0.5 * both["l1"].item(), rel=1e-5
    )


def test_a_fresh_code_is_of_its_own_place():
    vae = task(model={"base_dim": 16, "decoder_base_dim": 8, "z_dim": 8}).vae
    video = torch.rand(1, 3, 9, 32, 32, generator=torch.Generator().manual_seed(0)) - 0.5
    changed = video.clone()
    changed[:, :, 1:5, 8:16, 16:24] *= -1
    with torch.no_grad():
        codes = [vae.encode(x).latent_dist.mode() for x in (video, changed)]
    change = (codes[1] - codes[0]).abs().mean(dim=(0, 1))
    assert change[1, 1, 2] > 0.03
    assert change[1, 1, 2] == change.max()
    assert change.sum() < 2 * change[1, 1, 2]
