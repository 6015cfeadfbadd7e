from __future__ import annotations

import numpy as np
import pytest

from vap.data.signature import sign


def noise(seed=0, high=160):
    return np.random.default_rng(seed).integers(20, high, (8, 32, 32, 3), np.uint8)


def test_the_hash_does_not_see_brightness_and_the_colors_do():
    dark, bright = sign(noise()), sign(noise() + 40)
    assert np.array_equal(dark.bits, bright.bits)
    assert np.abs(bright.colors.astype(int) - dark.colors - 40).max() <= 1


def test_the_hash_has_a_bit_for_every_frequency_above_the_median():
    assert np.unpackbits(sign(noise()).bits).reshape(8, 64).sum(axis=1).tolist() == [32] * 8


def test_change_is_measured_where_and_when_it_happens():
    frames = np.full((8, 32, 32, 3), 100, np.uint8)
    assert not sign(frames).change.any()
    frames[4:, :8, 24:] = 151  # the upper right cell, from the fifth frame on
    since_first, since_last, shift = np.split(sign(frames).change, [7 * 16, 2 * 7 * 16])
    expected = np.zeros((7, 4, 4))
    expected[3:, 0, 3] = 0.2
    assert since_first.reshape(7, 4, 4) == pytest.approx(expected, abs=1e-6)
    expected[4:] = 0
    assert since_last.reshape(7, 4, 4) == pytest.approx(expected, abs=1e-6)
    assert shift.reshape(7, 3)[:, 0] == pytest.approx([0] * 3 + [0.2 / 16] * 4, abs=1e-6)


def test_frames_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 32, 32, 3\)"):
        sign(noise()[:7])
