from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.evaluation.metrics.tiny import moving, sample_of
from vap.evaluation.metrics.amt import Amt, _Correlation, load_amt
from vap.evaluation.metrics.motion_smoothness import MotionSmoothness


@pytest.fixture
def still_model():
    """A network that finds no motion."""
    model = Amt()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    return model


def test_the_network_has_the_size_and_names_of_the_release():
    state = Amt().state_dict()
    assert sum(value.numel() for value in state.values()) == 2_990_543
    assert state["feat_encoder.layer2.0.downsample.0.weight"].shape == (64, 32, 1, 1)
    assert state["decoder1.convblock.1.conv2.0.weight"].shape == (20, 20, 3, 3)
    assert state["update3.convc1.weight"].shape == (64, 2 * 4 * 49, 1, 1)
    assert "comb_block.1.weight" in state


def test_without_motion_both_frames_are_blended(still_model, tmp_path):
    save_file(still_model.state_dict(), tmp_path / "amt.safetensors")
    weights = tmp_path / "amt.safetensors"
    metric = MotionSmoothness(name="m", interpolator="AMT-S", weights=weights, device="cpu")
    frames = np.stack([np.full((130, 140, 3), value, np.uint8) for value in (0, 61, 101)])
    assert metric.score(sample_of(tmp_path, frames)).value == pytest.approx(100 * (1 - 11 / 255))
    assert metric.identity()["interpolator"] == "AMT-S"


def test_each_flow_warps_its_own_frame(still_model):
    # The last decoder says: 1.5 pixels to the left for the first, to the right for the second.
    bias = still_model.decoder1.convblock[2].bias.data
    bias[0:6:2], bias[6:12:2] = -1.5, 1.5
    first, second = torch.zeros(2, 1, 3, 128, 128)
    first[..., 40], second[..., 43] = 1, 1
    with torch.no_grad():
        between = still_model(first, second)
    assert (between[0, 0, 64] > 0.4).nonzero().flatten().tolist() == [41, 42]


def test_random_weights_predict_a_frame_of_any_size(tmp_path):
    torch.manual_seed(0)
    save_file(Amt().state_dict(), tmp_path / "amt.safetensors")
    halfway = load_amt(tmp_path / "amt.safetensors", "cpu")
    first, second = moving(2, frames=2, height=130, width=150)
    predicted = halfway(first, second)
    assert predicted.shape == (130, 150, 3)
    assert (predicted == halfway(first, second)).all()


def test_correlation_is_read_where_the_flow_leads():
    height, width = 16, 16
    # Every position has a feature of its own; in the second frame all moved by 2 to the right.
    first = torch.eye(height * width).reshape(1, -1, height, width)
    volume = _Correlation(first, first.roll(2, dims=3))
    flow = torch.zeros(1, 4, height, width)
    flow[:, 0], flow[:, 2] = -1, 1  # from the middle to the first frame, and to the second
    around = volume.around(flow) * (height * width) ** 0.5
    center = 3 * 7 + 3
    assert around.shape == (1, 2 * 4 * 49, height, width)
    assert around[0, center, :, :14].numpy() == pytest.approx(1)  # the first frame's positions
    assert around[0, 4 * 49 + center, :, 2:].numpy() == pytest.approx(1)  # the second's
    still = volume.around(torch.zeros_like(flow)) * (height * width) ** 0.5
    assert not still[0, center].any()
    two_to_the_right = 5 * 7 + 3  # the outer step goes to the right
    assert still[0, two_to_the_right, :, :14].numpy() == pytest.approx(1)


def test_small_frames_are_refused(tmp_path):
    save_file(Amt().state_dict(), tmp_path / "amt.safetensors")
    halfway = load_amt(tmp_path / "amt.safetensors", "cpu")
    with pytest.raises(ValueError, match="96×64"):
        halfway(*moving(2, frames=2))


def test_other_weights_are_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other"):
        load_amt(tmp_path / "other.safetensors", "cpu")
