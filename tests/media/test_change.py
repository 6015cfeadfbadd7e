from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.evaluation.metrics.tiny import moving, texture
from vap.media.change import agreement, change_of

finite = st.floats(-1e3, 1e3, width=32)
vectors = arrays.arrays(np.float32, 12, elements=finite)


def test_a_still_does_not_change():
    change = change_of(np.stack([texture()] * 20))
    assert change.motion.shape == (8, 4, 4, 2)
    assert change.appearance.shape == (8, 4, 4, 3)
    assert not change.motion.any()
    assert not change.appearance.any()


def test_motion_is_measured_in_shares_of_the_frame():
    change = change_of(moving(1, frames=17, height=96, width=96))
    inside = change.motion[:, 1:3, 1:3]
    assert inside[..., 0] == pytest.approx(2 / 96, rel=0.2)  # two steps in each eighth
    assert np.abs(inside[..., 1]).max() < 0.005


def test_size_and_length_of_a_clip_do_not_matter():
    small = change_of(moving(1, frames=17, height=96, width=96))
    large = change_of(moving(2, frames=17, height=192, width=192))
    long = change_of(np.repeat(moving(1, frames=17, height=96, width=96), 3, axis=0)[1:-1])
    assert agreement(small.motion, large.motion) > 0.8
    assert agreement(small.motion, long.motion) > 0.8


def test_appearance_is_the_change_of_color_since_the_first_frame():
    frames = np.full((17, 96, 96, 3), 51, np.uint8)
    frames[8:, :24, 72:, 0] = 153  # the upper right cell turns red halfway
    expected = np.zeros((8, 4, 4, 3))
    expected[3:, 0, 3, 0] = 0.4
    assert change_of(frames).appearance == pytest.approx(expected, abs=1e-6)


@given(vectors, vectors)
def test_agreement_is_symmetric_and_between_zero_and_one(first, second):
    found = agreement(first, second)
    assert -1e-6 <= found <= 1 + 1e-6
    assert found == pytest.approx(agreement(second, first), abs=1e-6)
    assert agreement(first, first) == 1


def test_agreement_in_known_cases():
    one, none = np.ones(4), np.zeros(4)
    assert agreement(one, -one) == 0
    assert agreement(one, none) == 0
    assert agreement(none, none) == 1
    assert agreement(one, 3 * one) == pytest.approx(0.5)
