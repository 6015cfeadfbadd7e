import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.evaluation.metrics.gap import changed_error, changed_pixels, gap_closed, still


@pytest.fixture
def truth():
    video = np.zeros((5, 4, 4, 3), dtype=np.float32)
    video[:, :2] = np.linspace(0, 1, 5, dtype=np.float32)[:, None, None, None]
    return video


def closed(video, truth, best):
    errors = (changed_error(clip, truth) for clip in (video, still(truth), best))
    return gap_closed(*errors)


def test_a_still_closes_nothing_and_the_reconstruction_everything(truth):
    assert closed(still(truth), truth, truth) == pytest.approx(0)
    assert closed(truth * 0.9, truth, truth * 0.9) == pytest.approx(1)


def test_half_of_the_change_closes_three_quarters_of_a_squared_gap(truth):
    assert closed(truth / 2, truth, truth) == pytest.approx(0.75)


def test_a_wrong_change_is_worse_than_none(truth):
    assert closed(-truth, truth, truth) == pytest.approx(-3)


def test_pixels_that_do_not_change_do_not_count(truth):
    elsewhere = truth.copy()
    elsewhere[:, 2:] = 0.7
    assert changed_error(elsewhere, truth) == 0
    assert changed_pixels(truth).sum() == 4 * 2 * 4


def test_a_truth_that_never_changes_has_no_error_and_no_gap():
    video = np.full((3, 2, 2, 3), 0.5)
    assert changed_error(video + 0.3, video) == 0
    assert gap_closed(0, 0, 0) is None


def test_differences_are_taken_in_double_precision():
    truth = np.zeros((2, 1, 1, 3), np.float32)
    truth[1] = 1
    near = truth + np.float32(2**-20)
    assert changed_error(near, truth) == pytest.approx(2.0**-40, rel=1e-9)


def test_videos_of_another_shape_are_refused(truth):
    with pytest.raises(ValueError, match="one shape"):
        changed_error(truth[:4], truth)


@given(st.floats(0, 1), st.floats(0.01, 1), st.floats(0, 0.99))
def test_less_error_never_closes_less(error, static, share):
    best = static * share
    values = [gap_closed(e, static, best) for e in (error, error / 2)]
    assert values[1] >= values[0]
