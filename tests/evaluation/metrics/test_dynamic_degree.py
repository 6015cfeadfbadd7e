from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.evaluation.metrics.tiny import moving, sample_of, still
from vap.evaluation.metrics.dynamic_degree import DynamicDegree, is_dynamic, motions_of

DYNAMIC = DynamicDegree(name="dynamic")


def test_a_still_and_black_frames_do_not_move(tmp_path):
    assert DYNAMIC.score(sample_of(tmp_path / "still", still())).value == 0
    assert DYNAMIC.score(sample_of(tmp_path / "black", still(0))).value == 0


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


def test_the_title_names_what_takes_the_place_of_raft(tmp_path):
    assert DYNAMIC.title.endswith("(DIS)")
    weights = tmp_path / "x.safetensors"
    assert DynamicDegree(name="d", weights=weights).title.endswith("(RAFT)")
