from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.evaluation.metrics.tiny import moving, sample_of, texture
from vap.evaluation.metrics.dynamic_degree import DynamicDegree, is_dynamic, motions_of
from vap.evaluation.metrics.motion_smoothness import (
    MotionSmoothness,
    dis_interpolator,
    smoothness,
)
from vap.evaluation.metrics.rife import Rife, load_rife

SMOOTH = MotionSmoothness(name="smoothness")
DYNAMIC = DynamicDegree(name="dynamic")


def noise(frames=9):
    return np.random.default_rng(0).integers(0, 256, (frames, 64, 96, 3), np.uint8)


def still(value=None):
    return np.stack([texture() if value is None else np.full((64, 96, 3), value, np.uint8)] * 9)


def test_a_still_and_black_frames_are_smooth_and_do_not_move(tmp_path):
    for name, frames in (("still", still()), ("black", still(0))):
        sample = sample_of(tmp_path / name, frames)
        assert SMOOTH.score(sample).value == 100
        assert DYNAMIC.score(sample).value == 0


def test_steady_motion_is_smooth_and_noise_is_not(tmp_path):
    steady = SMOOTH.score(sample_of(tmp_path / "steady", moving(2))).value
    assert steady > 98.5
    assert SMOOTH.score(sample_of(tmp_path / "noise", noise())).value < 85


def test_smoothness_is_counted_in_shares_of_white():
    frames = np.zeros((5, 4, 4, 3), np.uint8)
    frames[1], frames[3] = 51, 102  # the frames that are predicted, as black
    assert smoothness(frames, lambda first, _: first) == pytest.approx(1 - (0.2 + 0.4) / 2)
    frames[2] = 200  # a neighbor of both
    mean = smoothness(frames, lambda a, b: ((a.astype(int) + b) // 2).astype(np.uint8))
    assert mean == pytest.approx(1 - (49 + 2) / 2 / 255)


def test_two_frames_have_no_smoothness(tmp_path):
    with pytest.raises(ValueError, match="2 frames"):
        SMOOTH.score(sample_of(tmp_path, moving(1, frames=2)))


def test_a_translation_is_halved():
    frames = moving(4, frames=3)
    predicted = dis_interpolator()(frames[0], frames[2])
    inside = (slice(8, -8), slice(16, -16))
    assert np.abs(predicted[inside].astype(int) - frames[1][inside]).mean() < 3


def test_a_pair_moves_beyond_six_pixels_at_a_side_of_256():
    at = [6.0] * 15
    assert not is_dynamic(at, 256, 400)
    assert is_dynamic([6.001] * 15, 256, 400)
    assert is_dynamic([3.001] * 15, 400, 128)
    assert not is_dynamic([3.0] * 15, 400, 128)


@pytest.mark.parametrize(("frames", "needed"), [(2, 1), (9, 2), (10, 2), (16, 4), (25, 6)])
def test_a_quarter_of_the_frames_must_move(frames, needed):
    def videos(count):
        return [9.0] * count + [0.0] * (frames - 1 - count)

    assert is_dynamic(videos(needed), 256, 256)
    assert not is_dynamic(videos(needed - 1), 256, 256)


def test_only_the_longest_twentieth_of_the_flow_counts():
    flow = np.zeros((10, 20, 2), np.float32)
    flow[0, :10] = (3, 4)  # 10 of 200 pixels
    flow[0, 0] = (0, 15)
    (motion,) = motions_of(np.zeros((2, 10, 20, 3), np.uint8), lambda *_: flow)
    assert motion == pytest.approx((9 * 5 + 15) / 10)


def test_a_known_translation_is_measured(tmp_path):
    threshold = 6 * 64 / 256
    for step, dynamic in ((1, 0), (2, 100)):
        value = DYNAMIC.score(sample_of(tmp_path / str(step), moving(step)))
        assert np.median(value.details["motions"]) == pytest.approx(step, abs=0.4)
        assert (step > threshold) == (dynamic == 100)
        assert value.value == dynamic


def test_frames_are_sampled_at_about_eight_a_second(tmp_path):
    frames = moving(1, frames=17)
    slow, fast = (DYNAMIC.score(sample_of(tmp_path / str(f), frames, fps=f)) for f in (8, 24))
    assert (len(slow.details["motions"]), slow.value) == (16, 0)
    assert (len(fast.details["motions"]), fast.value) == (5, 100)


def test_titles_name_what_takes_the_place_of_the_published_models(tmp_path):
    assert SMOOTH.title.endswith("(DIS)")
    assert DYNAMIC.title.endswith("(DIS)")
    weights = tmp_path / "x.safetensors"
    assert MotionSmoothness(name="m", weights=weights).title.endswith("(RIFE)")
    assert DynamicDegree(name="d", weights=weights).title.endswith("(RAFT)")


@pytest.mark.parametrize("features", [0, 3])
def test_rife_takes_its_sizes_from_its_weights(tmp_path, features):
    torch.manual_seed(0)
    model = Rife([16, 12, 8], (8, 4), 5 + features, features)
    tensors = {f"module.{name}": value for name, value in model.state_dict().items()}
    tensors["module.teacher.conv0.weight"] = torch.zeros(1)
    save_file(tensors, tmp_path / "rife.safetensors")
    halfway = load_rife(tmp_path / "rife.safetensors", "cpu")
    first, second = moving(2, frames=2, height=30, width=50)
    predicted = halfway(first, second)
    pair = torch.nn.functional.pad(
        torch.from_numpy(np.stack([first, second])).permute(0, 3, 1, 2) / 255,
        (0, 14, 0, 2),
        mode="replicate",
    )
    with torch.no_grad():
        expected = model(pair[:1], pair[1:])[0, :, :30, :50].clamp(0, 1) * 255
    assert predicted.shape == (30, 50, 3)
    assert (predicted == expected.permute(1, 2, 0).to(torch.uint8).numpy()).all()


def test_rife_without_flow_blends_both_frames(tmp_path):
    model = Rife([8, 8], (4, 4), 5, 0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    save_file(model.state_dict(), tmp_path / "rife.safetensors")
    metric = MotionSmoothness(name="m", weights=tmp_path / "rife.safetensors", device="cpu")
    frames = np.stack([np.full((16, 16, 3), value, np.uint8) for value in (0, 60, 100)])
    assert metric.score(sample_of(tmp_path, frames)).value == pytest.approx(100 * (1 - 10 / 255))


def test_rife_warps_each_frame_by_its_own_flow(tmp_path):
    model = Rife([8, 8], (4, 4), 5, 0)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    # Both blocks say: 1.5 pixels to the left for the first frame, to the right for the second.
    for block, scale in ((model.block0, 2), (model.block1, 1)):
        shifts = torch.tensor([-1.5, 0, 1.5, 0, 0]) / scale / 2
        block.lastconv[0].bias.data[:] = shifts.repeat_interleave(4)
    first, second = torch.zeros(2, 1, 3, 16, 32)
    first[..., 10], second[..., 13] = 1, 1
    with torch.no_grad():
        between = model(first, second)
    assert between[0, 0, 8].nonzero().flatten().tolist() == [11, 12]


def test_weights_that_are_not_of_rife_are_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other"):
        load_rife(tmp_path / "other.safetensors", "cpu")


class ExactFlow(torch.nn.Module):
    """Stands for RAFT: everything moves by the one weight that it has."""

    def __init__(self):
        super().__init__()
        self.step = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, first, second, num_flow_updates):
        assert num_flow_updates == 20
        assert first.shape == second.shape
        assert not any(side % 8 for side in first.shape[-2:])
        assert -1 <= first.min() <= first.max() <= 1
        flow = torch.zeros(len(first), 2, *first.shape[-2:])
        flow[:, 0] = self.step
        return [torch.zeros_like(flow), flow]


@pytest.mark.parametrize(("step", "value"), [(6.0, 0), (6.01, 100)])
def test_raft_decides_exactly_at_the_threshold(tmp_path, monkeypatch, step, value):
    module = types.ModuleType("torchvision.models.optical_flow")
    module.raft_large = ExactFlow
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", module)
    for parent in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    save_file({"step": torch.tensor([step])}, tmp_path / "raft.safetensors")
    metric = DynamicDegree(name="d", weights=tmp_path / "raft.safetensors", device="cpu")
    metric.check()
    sample = sample_of(tmp_path / "sample", moving(0, height=256, width=258))
    assert metric.score(sample).value == value
    assert metric.identity()["flow"] == "RAFT"


def test_raft_without_torchvision_is_named_before_a_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", None)
    save_file({"step": torch.zeros(1)}, tmp_path / "raft.safetensors")
    with pytest.raises(ValueError, match="torchvision"):
        DynamicDegree(name="d", weights=tmp_path / "raft.safetensors", device="cpu").check()
