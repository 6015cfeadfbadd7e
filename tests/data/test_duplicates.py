from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.clips_on_disk import inspected, made_clip
from vap.data.duplicates import MAX_DISTANCE, find_duplicates
from vap.data.signature import ClipSignature, sign

GREY = np.full((8, 4, 4, 3), 128, np.uint8)


@settings(deadline=None)
@given(
    flips=st.lists(st.sets(st.integers(0, 511), max_size=50), min_size=1, max_size=6),
    distance=st.integers(0, MAX_DISTANCE),
)
def test_bands_find_what_comparing_all_finds(flips, distance):
    base = np.random.default_rng(0).integers(0, 256, 64, np.uint8)
    signatures = []
    for flipped in flips:
        bits = np.unpackbits(base)
        bits[list(flipped)] ^= 1
        signatures.append(ClipSignature(np.packbits(bits), GREY, np.zeros(1, np.float32)))
    expected, kept = {}, []
    for index, flipped in enumerate(flips):
        near = [other for other in kept if len(flipped ^ flips[other]) <= distance]
        if near:
            expected[index] = near[0]
        else:
            kept.append(index)
    assert find_duplicates(signatures, distance=distance) == expected


def test_a_change_of_color_alone_makes_another_clip():
    frames = np.random.default_rng(0).integers(0, 200, (8, 32, 32, 3), np.uint8)
    brighter = frames.copy()
    brighter[4:] += 30
    assert find_duplicates([sign(frames), sign(brighter)]) == {}
    assert find_duplicates([sign(frames), sign(frames + 3)]) == {1: 0}


def test_another_encoding_is_a_duplicate_and_another_effect_is_not(tmp_path):
    clips = [
        inspected(made_clip(tmp_path / "a.mp4")),
        inspected(made_clip(tmp_path / "small.mp4", quality="small")),
        inspected(made_clip(tmp_path / "large.mp4", size=96, speed=3, quality="small")),
        inspected(made_clip(tmp_path / "same_start.mp4", speed=-2)),
        inspected(made_clip(tmp_path / "other.mp4", seed=1)),
    ]
    assert find_duplicates([clip.signature for clip in clips]) == {1: 0, 2: 0}


def test_a_distance_that_bands_cannot_promise_is_refused():
    with pytest.raises(ValueError, match="distance=42"):
        find_duplicates([], distance=42)
