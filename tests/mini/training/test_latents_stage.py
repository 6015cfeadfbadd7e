"""The shards of a recipe: kept where they are its own and whole, never mixed with others."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from vap.mini.training.encoded_pairs import read_origin, read_shards
from vap.mini.training.mini_recipe import AutoencoderConfig
from vap.mini.training.stages.vae_stage import build_autoencoder
from vap.training.recipe import parse_recipe
from vap.training.stages import run_recipe

RENDER = {"height": 16, "width": 32, "frames": 5, "conditions": ["sepia", "pan"]}
ENCODERS = {"image_dim": 8, "image_heads": 2, "image_size": 16, "image_patch": 8}
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def vae(tmp_path):
    torch.manual_seed(0)
    folder = tmp_path / "vae"
    build_autoencoder(AutoencoderConfig(base_dim=4, decoder_base_dim=4, z_dim=4)).save_pretrained(
        folder
    )
    return folder


@pytest.fixture
def encode(vae, tmp_path):
    """Run the stage with some values changed; returns the folder of shards."""

    def run(**changes):
        tree = {
            "stage": "latents",
            "output": str(tmp_path / "latents"),
            "vae": str(vae),
            "pairs": 3,
            "shard_size": 2,
            "render": RENDER,
            "encoders": ENCODERS,
        }
        return run_recipe(parse_recipe({**tree, **changes}))

    return run


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def alter(vae, part):
    """Train some part of the VAE a little."""
    tensors = load_file(vae / WEIGHTS)
    name = next(name for name in tensors if name.startswith(part))
    tensors[name] = tensors[name] + 0.01
    save_file(tensors, vae / WEIGHTS, metadata={"format": "pt"})


def test_a_recipe_that_grows_has_all_its_pairs(encode, tmp_path):
    whole = read_shards(encode(pairs=6, output=str(tmp_path / "whole")))
    first = encode(pairs=3) / "pairs-00000000.safetensors"
    kept = first.stat().st_mtime_ns

    grown = read_shards(encode(pairs=6))

    assert list(grown.names) == list(whole.names)
    assert list(grown.captions) == list(whole.captions)
    torch.testing.assert_close(grown.latents, whole.latents, rtol=1e-2, atol=1e-2)
    assert first.stat().st_mtime_ns == kept


def test_a_recipe_that_shrinks_or_moves_keeps_its_shards(encode, vae, tmp_path):
    before = contents(encode(pairs=4))
    moved = vae.rename(tmp_path / "elsewhere")

    assert contents(encode(pairs=3, vae=str(moved), threads=1)) == before


def test_a_decoder_that_was_trained_further_changes_no_shard(encode, vae):
    before = contents(encode())
    alter(vae, "decoder.")

    assert contents(encode()) == before


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"precision": "bf16"},
        {"shard_size": 3},
        {"render": {**RENDER, "conditions": ["sepia"]}},
        {"encoders": {**ENCODERS, "seed": 1}},
        {"seed": 1, "first": 100},
    ],
    ids="-".join,
)
def test_another_recipes_shards_are_refused_and_stay(encode, change):
    folder = encode()
    before = contents(folder)

    with pytest.raises(ValueError, match=r"another recipe: seed.*Choose another output folder"):
        encode(**change)

    assert contents(folder) == before


def test_shards_of_another_autoencoder_are_refused(encode, vae):
    encode()
    alter(vae, "encoder.")

    with pytest.raises(ValueError, match="the VAE's encoder differ"):
        encode()


def test_runs_that_share_the_work_share_the_folder(encode):
    encode(pairs=2)
    folder = encode(first=2, pairs=3)

    assert len(read_shards(folder)) == 5
    assert [read_origin(path).first for path in sorted(folder.iterdir())] == [0, 2, 4]


def test_pairs_are_not_encoded_twice_into_one_folder(encode):
    folder = encode(first=3, pairs=2)

    with pytest.raises(ValueError, match=r"has pairs 3 to 4, which the shard from 2 on"):
        encode(pairs=6)

    assert len(read_shards(folder)) == 2
