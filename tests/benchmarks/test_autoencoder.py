"""The best linear autoencoder, which others are measured by."""

from __future__ import annotations

import pytest
import torch
from benchmarks.autoencoder import blocks, decibels, linear_error


def test_blocks_hold_every_pixel_after_the_first_frame_once():
    clips = torch.arange(2 * 3 * 9 * 16 * 24.0).view(2, 3, 9, 16, 24)
    cut = blocks(clips)
    assert cut.shape == (2 * 2 * 2 * 3, 768)
    assert set(cut.flatten().tolist()) == set(clips[:, :, 1:].flatten().tolist())
    assert set(cut[0].tolist()) == set(clips[0, :, 1:5, :8, :8].flatten().tolist())


def test_more_channels_leave_less_error():
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(4, 3, 9, 16, 16, generator=generator)
    errors = [linear_error(clips, blocks(clips), channels) for channels in (1, 8, 768)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] == pytest.approx(0, abs=1e-6)
    assert decibels(4.0) == 0
