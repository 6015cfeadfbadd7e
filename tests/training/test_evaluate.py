from __future__ import annotations

import numpy as np
import pytest

from vap.training.stages.evaluate import gap_closed


@pytest.fixture
def truth():
    video = np.zeros((5, 4, 4, 3), dtype=np.float32)
    video[:, :2] = np.linspace(0, 1, 5, dtype=np.float32)[:, None, None, None]
    return video


def test_a_still_video_closes_nothing(truth):
    still = np.zeros_like(truth)

    assert gap_closed(still, truth, truth) == pytest.approx(0)


def test_the_reconstruction_closes_everything(truth):
    reconstruction = truth + np.float32(0.05)

    assert gap_closed(reconstruction, truth, reconstruction) == pytest.approx(1)


def test_half_of_the_change_closes_half(truth):
    assert gap_closed(truth / 2, truth, truth) == pytest.approx(0.5)


def test_pixels_that_do_not_change_do_not_count(truth):
    video = truth.copy()
    video[:, 2:] = 1

    assert gap_closed(video, truth, truth) == pytest.approx(1)


def test_nothing_to_close_has_no_score(truth):
    still = np.zeros_like(truth)

    assert gap_closed(still, still, still) is None
