import numpy as np
import pytest

from vap.evaluation.metrics.recognized import RECOGNIZER
from vap.mini.evaluation.scores import Scorer, summarize
from vap.mini.evaluation.systems import Static, Truth
from vap.synth.classifier import as_video

LARGEST = 1_050_000


@pytest.fixture(scope="module")
def scorer():
    return Scorer()


def test_the_classifier_that_ships_is_small(scorer):
    assert RECOGNIZER.stat().st_size < LARGEST


def test_a_truth_has_no_error_and_the_very_first_frame(scorer, cases):
    scores = scorer.score("truth", cases, Truth().videos(cases), seconds=3.0, weights="")
    assert [score.error for score in scores] == [0, 0, 0]
    assert [score.first_frame for score in scores] == [60, 60, 60]
    assert [(score.split, score.condition) for score in scores] == [
        (case.spec.split, case.spec.condition) for case in cases
    ]
    assert {score.seconds for score in scores} == {1.0}


def test_a_still_misses_all_of_the_change(scorer, cases):
    (score, *_) = scorer.score("static", cases, Static().videos(cases), seconds=1.0, weights="")
    truth = cases[0].truth
    changed = np.abs(truth - truth[:1]).max(axis=-1) > 0.08
    expected = np.square(truth - truth[:1])[changed].mean()
    assert score.error == pytest.approx(expected, rel=1e-12)


def test_gap_closed_is_a_ratio_of_means_not_a_mean_of_ratios(score):
    static = [score("static", 1.0, 0), score("static", 0.01, 1)]
    best = [score("vae", 0.0, 0), score("vae", 0.0, 1)]
    own = [score("vap", 0.0, 0), score("vap", 0.03, 1)]
    found = summarize(own, static, best)
    assert found.gap_closed == pytest.approx(0.98 / 1.01)
    assert found.interval[0] <= found.gap_closed <= found.interval[1]


def test_bounds_are_those_of_the_same_cases(score):
    static = [score("static", 1.0, 0), score("static", 0.5, 1)]
    best = [score("vae", 0.0, 0), score("vae", 0.1, 1)]
    found = summarize([score("lora", 0.3, 1, recognized="jump")], static, best)
    assert found.gap_closed == pytest.approx(0.5)
    assert (found.pairs, found.recognized, found.first_frame) == (1, 0.0, 30.0)


def test_no_gap_where_the_autoencoder_is_no_better_than_a_still(score):
    found = summarize([score("vap", 0.1)], [score("static", 0.1)], [score("vae", 0.2)])
    assert (found.gap_closed, found.interval) == (None, None)


def test_rendered_clips_need_no_scaling_for_the_classifier():
    frames = np.random.default_rng(0).integers(0, 255, (1, 17, 64, 96, 3), np.uint8)
    np.testing.assert_allclose(as_video(frames)[0, :, -1].permute(1, 2, 0) * 255, frames[0, -1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_video_of_no_numbers_is_refused_by_system_and_case(scorer, cases, value):
    videos = [video.copy() for video in Truth().videos(cases)]
    videos[1][2, 3, 4] = value
    named = f"vap made of {cases[1].spec.name} .{cases[1].spec.condition}.* no numbers"
    with pytest.raises(ValueError, match=named):
        scorer.score("vap", cases, videos, seconds=1.0, weights="")
