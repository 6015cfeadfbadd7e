"""The classifier: its input, its output, its file."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vap.synth import CONDITIONS
from vap.synth.classifier import (
    Recognizer,
    as_video,
    load_recognizer,
    recognize,
    save_recognizer,
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Recognizer().eval()


def test_every_condition_has_a_probability(model):
    clips = np.random.default_rng(0).integers(0, 255, (2, 17, 48, 64, 3), np.uint8)
    shares = recognize(model, clips)
    assert len(shares) == 2
    assert shares[0].keys() == CONDITIONS.keys()
    assert sum(shares[0].values()) == pytest.approx(1, abs=1e-4)
    assert list(shares[0].values()) == sorted(shares[0].values(), reverse=True)


def test_clips_of_any_size_become_the_same_input():
    clip = np.full((1, 25, 128, 192, 3), 51, np.uint8)
    video = as_video(clip)
    assert video.shape == (1, 3, 9, 64, 96)
    torch.testing.assert_close(video, torch.full_like(video, 0.2))


def test_file_round_trip(model, tmp_path):
    path = tmp_path / "recognizer.safetensors"
    save_recognizer(model, path)
    video = torch.rand(1, 3, 9, 64, 96)
    # Stored in half precision.
    torch.testing.assert_close(load_recognizer(path)(video), model(video), rtol=1e-2, atol=1e-3)


def test_a_file_of_other_conditions_is_refused(model, tmp_path):
    path = tmp_path / "other.safetensors"
    save_file(model.state_dict(), path, {"conditions": "jump,fly"})
    with pytest.raises(ValueError, match="other conditions"):
        load_recognizer(path)
