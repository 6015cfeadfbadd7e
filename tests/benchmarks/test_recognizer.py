"""The classifier's training, its measurement, and the softened clips that it learns from."""

import numpy as np
import pytest
import torch
from benchmarks.recognizer import (
    Training,
    confusion,
    labelled_batches,
    soften,
    soften_half,
    train_recognizer,
)

from vap.synth.classifier import Recognizer
from vap.synth.registry import CONDITIONS


def test_batches_show_all_conditions_equally_often():
    _, labels = next(labelled_batches(0, len(CONDITIONS), unseen=True))
    assert sorted(labels.tolist()) == list(range(len(CONDITIONS)))


def test_training_lowers_the_loss_and_repeats():
    losses = []
    short = Training(steps=6, batch=4)
    model = train_recognizer(short, progress=lambda _, loss: losses.append(loss))
    again = train_recognizer(short)
    assert np.isfinite(losses).all()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, again.state_dict()[name])


def test_uneven_counts_are_refused():
    with pytest.raises(ValueError, match="multiple of 100"):
        confusion(Recognizer(), 150, seed=0)


@pytest.fixture
def clips():
    return torch.rand(6, 3, 4, 32, 48, generator=torch.Generator().manual_seed(0))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def detail(clips):
    return (clips.diff(dim=-1)).square().mean(dim=(1, 2, 3, 4))


def test_softened_clips_lose_detail_but_not_their_colours(clips):
    soft = soften(clips, seeded(1))
    assert soft.shape == clips.shape
    assert (detail(soft) < detail(clips)).all()
    torch.testing.assert_close(
        soft.mean(dim=(2, 3, 4)), clips.mean(dim=(2, 3, 4)), atol=0.02, rtol=0
    )
    assert 0 <= soft.min() <= soft.max() <= 1


def test_the_generator_decides(clips):
    assert torch.equal(soften(clips, seeded(2)), soften(clips, seeded(2)))
    assert not torch.equal(soften(clips, seeded(2)), soften(clips, seeded(3)))


def test_about_half_of_the_clips_stay_as_they_are(clips):
    many = clips[:1].expand(64, -1, -1, -1, -1)
    kept = (soften_half(many, seeded(4)) == many).flatten(1).all(dim=1).sum()
    assert 16 < kept < 48
