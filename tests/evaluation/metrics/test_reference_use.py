from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.evaluation.metrics.tiny import moving, sample_of, save_dino, texture
from vap.evaluation.metrics.reference_use import ReferenceUse
from vap.evaluation.metrics.registry import METRICS
from vap.media import write_video
from vap.media.change import reference_use

vectors = arrays.arrays(np.float64, 6, elements=st.floats(-10, 10))
RIGHT = moving(1, frames=17, height=96, width=96)
LEFT = RIGHT[::-1]
STILL = np.stack([texture(96, 96)] * 17)
REDDER = np.stack([np.clip(STILL[0] + np.array([4, 0, 0]) * i, 0, 255) for i in range(17)])


def sample(folder, own, reference, other, **videos):
    made = sample_of(folder, own, **videos)
    paths = [
        write_video(frames.astype(np.uint8), folder / name, 8)
        for name, frames in (("reference", reference), ("other", other))
    ]
    return replace(made, case=replace(made.case, reference=paths[0]), swapped_reference=paths[1])


@pytest.fixture
def metric():
    return METRICS.read("reference-use")


def test_results_that_follow_their_references_score_high(metric, tmp_path):
    value = metric.score(sample(tmp_path, RIGHT, RIGHT, LEFT, none=STILL, swapped=LEFT))
    assert value.value == pytest.approx(1, abs=0.15)
    assert value.details["against_none"]["motion"] == pytest.approx(1, abs=0.05)


def test_the_same_result_whatever_the_reference_scores_zero(metric, tmp_path):
    value = metric.score(sample(tmp_path, RIGHT, RIGHT, LEFT, none=RIGHT, swapped=RIGHT))
    assert value.value == 0
    assert value.details["against_none"] == {"motion": 0, "appearance": 0}


def test_results_that_follow_the_other_reference_score_below_zero(metric, tmp_path):
    right = metric.score(sample(tmp_path / "a", RIGHT, RIGHT, LEFT, swapped=LEFT)).value
    wrong = metric.score(sample(tmp_path / "b", LEFT, RIGHT, LEFT, swapped=RIGHT)).value
    assert wrong == pytest.approx(-right)


def test_a_change_that_leads_toward_no_reference_scores_nearly_nothing(metric, tmp_path):
    made = sample(tmp_path, REDDER.astype(np.uint8), RIGHT, LEFT, swapped=STILL)
    assert abs(metric.score(made).value) < 0.1


def test_a_change_of_colors_counts_as_appearance(metric, tmp_path):
    made = sample(tmp_path, REDDER.astype(np.uint8), REDDER, STILL, swapped=STILL)
    parts = metric.score(made).details["parts"]
    assert parts["appearance"] == pytest.approx(1, abs=0.02)


def test_systems_without_a_reference_score_zero(metric, tmp_path):
    value = metric.score(sample_of(tmp_path, RIGHT))
    assert (value.value, value.details) == (0, {"reads_reference": False})


def test_an_unknown_swapped_reference_is_an_error(metric, tmp_path):
    with pytest.raises(ValueError, match="swapped reference"):
        metric.score(sample_of(tmp_path, RIGHT, swapped=LEFT))


def test_appearance_may_be_that_of_a_model(tmp_path):
    model = save_dino(tmp_path / "dino")
    metric = ReferenceUse(name="use", model=model, device="cpu")
    metric.check()
    made = sample(tmp_path / "a", REDDER.astype(np.uint8), REDDER, STILL, swapped=STILL)
    assert metric.score(made).details["parts"]["appearance"] == pytest.approx(1, abs=0.02)
    assert metric.features(made.video)["appearance"].shape == (8, 16)
    assert metric.identity() != ReferenceUse(name="use").identity()


@given(vectors, vectors, vectors, vectors)
def test_the_score_is_bounded_and_zero_without_a_difference(own, swapped, reference, other):
    assert -1 - 1e-9 <= reference_use(own, swapped, reference, other) <= 1 + 1e-9
    assert reference_use(own, own, reference, other) == pytest.approx(0, abs=1e-9)
    exchanged = reference_use(swapped, own, reference, other)
    assert exchanged == pytest.approx(-reference_use(own, swapped, reference, other), abs=1e-9)
