"""The stages of the detail network: clips that are made once, frames that are drawn from them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from vap.mini.training.stages import clips_stage
from vap.mini.training.stages.detail_stage import DetailTask
from vap.training.recipe import parse_recipe

PAIRS, FRAMES = 8, 9
RENDER = {"height": 16, "width": 32, "frames": FRAMES}


@pytest.fixture
def clips(tmp_path):
    """A shard whose frames show their number: truth 10·t, made 100 + t, decoded 200 + t."""
    frames = torch.arange(FRAMES, dtype=torch.uint8).view(1, -1, 1, 1, 1)
    shape = (PAIRS, FRAMES, 16, 32, 3)
    tensors = {
        name: values.expand(shape).contiguous()
        for name, values in (
            ("truth", 10 * frames),
            ("made", 100 + frames),
            ("decoded", 200 + frames),
        )
    }
    save_file(tensors, tmp_path / "clips-00000000.safetensors")
    return tmp_path


def task(clips, **changes):
    recipe = {
        "stage": "detail",
        "output": str(clips / "detail"),
        "clips": str(clips),
        "model": {"coarse_channels": 8, "fine_channels": 4, "match_channels": 4},
        "frames": 4,
        "loop": {"steps": 1, "batch_size": 5},
        **changes,
    }
    return DetailTask(parse_recipe(recipe))


@pytest.mark.parametrize(("share", "base"), [(0.0, 100), (1.0, 200)])
def test_a_step_has_frames_of_what_was_made_with_their_truth(clips, share, base):
    decoded, truth = task(clips, autoencoder_share=share).batch(7)
    numbers = ((decoded + 1) * 127.5).round().long()[:, 0, :, 0, 0] - base
    assert decoded.shape == truth.shape == (5, 3, 4, 16, 32)
    assert (numbers[:, 0] == 0).all()
    assert (numbers.diff(dim=1) > 0).all()
    torch.testing.assert_close(truth[:, 0, :, 0, 0], 10 * numbers / 127.5 - 1)


def test_equal_steps_have_equal_frames(clips):
    one, two = (task(clips).batch(3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_first_loss_is_that_of_the_decoding_where_the_image_adds_nothing(clips):
    made = task(clips, autoencoder_share=1.0)
    batch = made.batch(0)
    _, truth = batch
    values = made.loss(made.model, (truth, truth), torch.Generator())
    assert values["loss"].item() == pytest.approx(0, abs=1e-5)
    assert values.keys() == {"loss", "mse", "gain"}


def test_no_clips_are_an_error_that_names_the_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="clips"):
        task(tmp_path)


def test_clips_that_are_there_are_kept_and_those_of_another_recipe_refused(clips):
    place = clips / "clips-00000000.safetensors"
    with pytest.raises(ValueError, match=place.name):
        clips_stage._is_there(place, "{}")
    save_file(load_file(place), place, {"origin": json.dumps({})})
    assert clips_stage._is_there(place, json.dumps({}))
    assert not clips_stage._is_there(clips / "clips-00000008.safetensors", "{}")
    place.write_bytes(b"half")
    with pytest.raises(ValueError, match=place.name):
        clips_stage._is_there(place, "{}")
