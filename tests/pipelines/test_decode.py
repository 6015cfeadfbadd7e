"""Latents for the VAE alone, and their frames."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.pipelines.golden import Golden


def test_a_call_in_two_parts_gives_the_same_frames(case: Golden) -> None:
    whole = case.run(case.prompted(output_type="np"))
    latents = case.run(case.prompted(output_type="vae_latent"))
    assert latents.shape[:3] == (1, case.pipeline.vae.config[_CHANNELS[case.family]], 3)
    assert (case.pipeline.decode(latents) == whole).all()


def test_models_without_a_detail_network_ignore_the_image(case: Golden) -> None:
    latents = case.run(case.prompted(output_type="vae_latent"))
    image = np.zeros((50, 70, 3), np.uint8)
    assert (case.pipeline.decode(latents, image=image) == case.pipeline.decode(latents)).all()


def test_latents_of_the_transformer_become_those_of_the_vae(case: Golden) -> None:
    latents = case.run(case.prompted(output_type="latent"))
    stored = case.run(case.prompted(output_type="vae_latent"))
    assert torch.equal(case.pipeline.vae_latents(latents), stored)


@pytest.mark.parametrize(("output_type", "kind"), [("pil", list), ("pt", torch.Tensor)])
def test_decoded_frames_come_in_each_form(case: Golden, output_type: str, kind: Any) -> None:
    latents = case.run(case.prompted(output_type="vae_latent"))
    assert isinstance(case.pipeline.decode(latents, output_type), kind)


_CHANNELS = {"wan": "z_dim", "cogvideox": "latent_channels"}
