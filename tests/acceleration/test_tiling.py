"""Strips give what the whole picture gives, and blending does not."""

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan
from hypothesis import given
from hypothesis import strategies as st

from vap.acceleration.plan import MEMORY_SHARE
from vap.acceleration.tiling import enable_tiling, strips_of
from vap.cost.trace import trace
from vap.files.names import BUNDLED_FOLDER

ROUNDING = 1e-5
WAN_21 = {"base_dim": 8, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 1}


def bundled() -> AutoencoderKLWan:
    return AutoencoderKLWan.from_pretrained(
        BUNDLED_FOLDER / "vap-mini", subfolder="vae", torch_dtype=torch.float32
    ).eval()


def random_wan() -> AutoencoderKLWan:
    torch.manual_seed(0)
    return AutoencoderKLWan(**WAN_21).eval()


@pytest.fixture(params=[bundled, random_wan], ids=["trained", "random"])
def vae(request) -> AutoencoderKLWan:
    return request.param()


@pytest.fixture(params=[(32, 160), (160, 32)], ids=["wide", "tall"])
def clip(request) -> torch.Tensor:
    height, width = request.param
    across = torch.linspace(-1, 1, width) * torch.linspace(-1, 1, height)[:, None]
    noise = torch.randn(1, 3, 5, height, width, generator=torch.Generator().manual_seed(0))
    return (across + 0.3 * noise).clamp(-1, 1)


@given(cells=st.integers(1, 200), count=st.integers(1, 12), halo=st.integers(0, 20))
def test_strips_cover_a_side_once_and_read_no_further_than_it(cells, count, halo) -> None:
    strips = strips_of(cells, count, halo)
    assert [cell for s in strips for cell in range(s.first, s.last)] == list(range(cells))
    for strip in strips:
        assert strip.read.start == max(0, strip.first - halo)
        assert strip.read.stop == min(cells, strip.last + halo)
        kept = strip.kept(3)
        assert kept.stop - kept.start == 3 * (strip.last - strip.first)


@torch.no_grad()
def test_strips_have_no_seam(vae, clip) -> None:
    latents = vae.encode(clip).latent_dist.mode()
    video = vae.decode(latents).sample
    enable_tiling(vae)
    assert (vae.encode(clip).latent_dist.mode() - latents).abs().max() < ROUNDING * latents.std()
    assert (vae.decode(latents, return_dict=False)[0] - video).abs().max() < ROUNDING


@torch.no_grad()
def test_a_clip_of_one_frame_is_worked_on_in_strips(vae, clip) -> None:
    one = clip[:, :, :1]
    latents = vae.encode(one).latent_dist.mode()
    video = vae.decode(latents).sample
    enable_tiling(vae)
    assert (vae.encode(one).latent_dist.mode() - latents).abs().max() < ROUNDING * latents.std()
    assert (vae.decode(latents).sample - video).abs().max() < ROUNDING


@torch.no_grad()
def test_blended_tiles_have(clip) -> None:
    vae = bundled()
    latents = vae.encode(clip).latent_dist.mode()
    video = vae.decode(latents).sample
    vae.enable_tiling(64, 64, 48, 48)
    assert (vae.decode(latents).sample - video).abs().max() > 1000 * ROUNDING


@torch.no_grad()
def test_strips_hold_a_fraction_of_the_memory() -> None:
    with torch.device("meta"):
        vae = AutoencoderKLWan(**WAN_21).eval()
    latents = torch.empty(1, 16, 3, 60, 104, device="meta")
    whole = trace(lambda: vae.decode(latents), [vae]).peak_bytes
    enable_tiling(vae)
    assert trace(lambda: vae.decode(latents), [vae]).peak_bytes < MEMORY_SHARE["wan"] * whole


def test_the_other_vae_is_tiled_by_diffusers() -> None:
    vae = AutoencoderKLCogVideoX(norm_num_groups=2, block_out_channels=(2, 2, 2, 2))
    enable_tiling(vae)
    assert vae.use_tiling


def test_no_strips_are_refused(vae) -> None:
    with pytest.raises(ValueError, match="strips=0"):
        enable_tiling(vae, 0)
