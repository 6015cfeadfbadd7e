"""Frames of zeros are encoded by layers that have not seen them yet, and by no others."""

import pytest
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResidualBlock

from tests.pipelines.golden import Golden, load
from vap.pipelines.repetition import answered_once


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLWan:
    torch.manual_seed(0)
    # As many layers as the released VAE, which decide how far back it looks.
    return AutoencoderKLWan(base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=2).eval()


@torch.no_grad()
def encode(vae: AutoencoderKLWan, clip: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Moments, and how often the first residual block was computed."""
    block, calls = vae.encoder.down_blocks[0], []
    assert isinstance(block, WanResidualBlock)
    hook = block.conv1.register_forward_hook(lambda *_: calls.append(True))
    moments = vae.encode(clip).latent_dist.parameters
    hook.remove()
    return moments, len(calls)


@pytest.mark.parametrize("known", [[0], [0, 36]], ids=["first", "first and last"])
def test_zeros_give_the_same_bits_in_fewer_computations(vae, known: list[int]) -> None:
    clip = torch.zeros(1, 3, 37, 16, 16)
    clip[:, :, known] = torch.rand(1, 3, len(known), 16, 16)
    expected, every = encode(vae, clip)
    with answered_once(vae.encoder):
        moments, computed = encode(vae, clip)
    assert torch.equal(moments, expected)
    assert every == 10
    assert computed == 4 + (len(known) - 1)
    # The last layers look back further than this video is long: nothing may simply be repeated.
    assert not torch.equal(moments[:, :, -2], moments[:, :, -3])


def test_moving_frames_are_all_encoded(vae) -> None:
    clip = torch.rand(1, 3, 17, 16, 16)
    expected, every = encode(vae, clip)
    with answered_once(vae.encoder):
        moments, computed = encode(vae, clip)
    assert torch.equal(moments, expected)
    assert computed == every == 5


def test_layers_are_left_as_they_were(vae) -> None:
    with pytest.raises(RuntimeError), answered_once(vae.encoder):
        raise RuntimeError
    assert all("forward" not in vars(layer) for layer in vae.encoder.down_blocks)


def test_keeping_nothing_gives_the_same_bytes(case: Golden) -> None:
    pipeline = load(case.family)
    kept = case.run(case.prompted(), pipeline)
    pipeline.keep_constants = False
    assert torch.equal(case.run(case.prompted(), pipeline), kept)
