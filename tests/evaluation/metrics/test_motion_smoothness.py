from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.metrics.tiny import moving, noise, sample_of, still
from vap.evaluation.metrics.motion_smoothness import (
    MotionSmoothness,
    dis_interpolator,
    smoothness,
)

SMOOTH = MotionSmoothness(name="smoothness")


def test_a_still_and_black_frames_are_perfectly_smooth(tmp_path):
    assert SMOOTH.score(sample_of(tmp_path / "still", still())).value == 100
    assert SMOOTH.score(sample_of(tmp_path / "black", still(0))).value == 100


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


def test_titles_name_the_interpolator():
    assert SMOOTH.title.endswith("(DIS)")
    for name in ("RIFE", "AMT-S"):
        assert MotionSmoothness(name="m", interpolator=name).title.endswith(f"({name})")
    assert MotionSmoothness(name="m", title="own").title == "own"


def test_weights_are_needed_where_there_is_a_network(tmp_path):
    weights = tmp_path / "x.safetensors"
    for settings in ({"interpolator": "RIFE"}, {"interpolator": "AMT-S"}, {"weights": weights}):
        with pytest.raises(ValueError, match="weights"):
            MotionSmoothness(name="m", **settings).check()
