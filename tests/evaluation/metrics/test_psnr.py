import numpy as np
import pytest

from vap.evaluation.metrics.psnr import EXACT, psnr


def test_a_tenth_off_everywhere_is_twenty_decibels():
    picture = np.full((4, 4, 3), 0.5)
    assert psnr(picture + 0.1, picture) == pytest.approx(20)


def test_equal_pictures_count_as_more_than_rounding_leaves():
    picture = np.random.default_rng(0).random((64, 64, 3))
    rounded = np.round(picture * 255) / 255
    assert psnr(picture, picture) == EXACT
    assert EXACT > psnr(rounded, picture) > 58


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="differ"):
        psnr(np.zeros((2, 2)), np.zeros((2, 3)))
