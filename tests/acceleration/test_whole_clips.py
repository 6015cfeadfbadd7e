"""A clip that goes through Wan's VAE whole gives what it gives in chunks."""

import copy

import pytest
import torch
from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

from vap.acceleration import whole_clips
from vap.acceleration.tiling import enable_tiling
from vap.acceleration.whole_clips import use_whole_clips
from vap.files.names import BUNDLED_FOLDER

ROUNDING = 1e-5
SIZES = {"dim_mult": [1, 2, 2], "num_res_blocks": 1, "base_dim": 8}
CONFIGS = {
    "2.1": {**SIZES, "temperal_downsample": [False, True]},
    "2.1, time halved twice": {**SIZES, "temperal_downsample": [True, True]},
    "2.2": {
        **SIZES,
        "is_residual": True,
        "temperal_downsample": [True, True],
        "decoder_base_dim": 12,
        "patch_size": 2,
        "in_channels": 12,
        "out_channels": 12,
    },
}


def random_vae(config) -> AutoencoderKLWan:
    torch.manual_seed(0)
    time = 2 ** sum(config["temperal_downsample"])
    space = 4 * config.get("patch_size", 1)
    return AutoencoderKLWan(**config, scale_factor_temporal=time, scale_factor_spatial=space).eval()


def bundled() -> AutoencoderKLWan:
    return AutoencoderKLWan.from_pretrained(
        BUNDLED_FOLDER / "vap-mini", subfolder="vae", torch_dtype=torch.float32
    ).eval()


@pytest.fixture(params=[*CONFIGS, "bundled"])
def vae(request) -> AutoencoderKLWan:
    return bundled() if request.param == "bundled" else random_vae(CONFIGS[request.param])


def clip(frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.rand(1, 3, frames, 32, 48, generator=generator) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5, 9, 17])
def test_a_whole_clip_gives_what_its_chunks_give(vae, frames) -> None:
    whole = copy.deepcopy(vae)
    use_whole_clips(whole)
    latents = vae.encode(clip(frames)).latent_dist.mode()
    video = vae.decode(latents).sample
    scale = latents.abs().max()
    assert (whole.encode(clip(frames)).latent_dist.mode() - latents).abs().max() < ROUNDING * scale
    assert (whole.decode(latents, return_dict=False)[0] - video).abs().max() < ROUNDING


@torch.no_grad()
def test_frames_that_fill_no_chunk_are_left_out_as_before(vae) -> None:
    whole = copy.deepcopy(vae)
    use_whole_clips(whole)
    expected, got = (each.encode(clip(8)).latent_dist.mode() for each in (vae, whole))
    assert got.shape == expected.shape


@torch.no_grad()
def test_layers_run_once_a_clip_unless_it_is_large(monkeypatch) -> None:
    vae = bundled()
    use_whole_clips(vae)
    ran = []
    vae.encoder.conv_in.register_forward_hook(lambda *_: ran.append("encoder"))
    vae.decoder.conv_in.register_forward_hook(lambda *_: ran.append("decoder"))
    vae.decode(vae.encode(clip(9)).latent_dist.mode())
    assert ran == ["encoder", "decoder"]
    ran.clear()
    monkeypatch.setattr(whole_clips, "LARGEST", 1)
    vae.decode(vae.encode(clip(9)).latent_dist.mode())
    assert ran == ["encoder"] * 3 + ["decoder"] * 3


def test_a_copy_encodes_by_its_own_weights() -> None:
    vae = bundled()
    use_whole_clips(vae)
    other = copy.deepcopy(vae)
    torch.nn.init.zeros_(other.quant_conv.weight)
    with torch.no_grad():
        assert vae.encode(clip(5)).latent_dist.mode().std() > 0.1
        assert other.encode(clip(5)).latent_dist.mode().std(dim=(2, 3, 4)).max() < ROUNDING


def test_strips_and_other_vaes_are_left_alone() -> None:
    vae = bundled()
    enable_tiling(vae)
    strips = vae._encode
    use_whole_clips(vae)
    assert vae._encode == strips
    other = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=2
    )
    use_whole_clips(other)
    assert "_encode" not in vars(other)
