"""Metrics that know the truth: gap closed, recognized, first frame."""

import numpy as np
import pytest
from PIL import Image

from vap.evaluation.benchmarks.synth import render_benchmark
from vap.evaluation.case import Case
from vap.evaluation.metrics.base import Sample
from vap.evaluation.metrics.gap import Gap
from vap.evaluation.metrics.psnr import FirstFrame
from vap.evaluation.metrics.recognized import RECOGNIZER, Recognized
from vap.media import read_clip, write_video
from vap.synth.classifier import as_video

LARGEST = 1_050_000


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    return render_benchmark(folder, 1, conditions=["melt"], seed=0).cases[0]


def sample(case, video):
    return Sample(case, "system", 0, {"own": video})


def still(case, folder):
    truth = read_clip(case.truth).frames
    return write_video(np.repeat(truth[:1], len(truth), axis=0), folder / "still", 8)


def test_a_truth_has_no_error_the_very_first_frame_and_is_recognized(case):
    truth = sample(case, case.truth)
    assert Gap(name="gap").score(truth).value == 0
    assert FirstFrame(name="first").score(truth).value == 60
    found = Recognized(name="recognized").score(truth)
    assert (found.value, found.details) == (100, {"seen": "melt"})


def test_a_still_misses_all_of_the_change(case, tmp_path):
    made = sample(case, still(case, tmp_path))
    truth = read_clip(case.truth).frames / 255
    changed = np.abs(truth - truth[:1]).max(axis=-1) > 0.08
    expected = np.square(truth - truth[:1])[changed].mean()
    assert Gap(name="gap").score(made).value == pytest.approx(expected, rel=1e-12)
    assert FirstFrame(name="first").score(made).value == 60
    assert Recognized(name="recognized").score(made).value == 0


def test_a_video_of_another_size_has_no_gap(case, tmp_path):
    video = write_video(np.zeros((17, 32, 48, 3), np.uint8), tmp_path / "small", 8)
    with pytest.raises(ValueError, match="one shape"):
        Gap(name="gap").score(sample(case, video))


def test_the_image_is_brought_to_the_size_of_the_video(tmp_path):
    Image.new("RGB", (100, 60), (10, 20, 30)).save(tmp_path / "image.png")
    video = write_video(np.full((2, 16, 24, 3), (10, 20, 30), np.uint8), tmp_path / "video", 8)
    case = Case("x", "melt", tmp_path / "image.png", video)
    assert FirstFrame(name="first").score(sample(case, video)).value == 60


def test_cases_without_a_lossless_truth_or_a_known_condition_have_no_score(case, tmp_path):
    other = Case("x", "set-on-fire", case.image, case.reference)
    assert not Gap(name="gap").applies(sample(other, case.truth))
    assert not Recognized(name="recognized").applies(sample(other, case.truth))
    assert Recognized(name="recognized").applies(sample(case, case.truth))


def test_the_classifier_that_ships_is_small():
    assert RECOGNIZER.stat().st_size < LARGEST


def test_rendered_clips_need_no_scaling_for_the_classifier():
    frames = np.random.default_rng(0).integers(0, 255, (1, 17, 64, 96, 3), np.uint8)
    np.testing.assert_allclose(as_video(frames)[0, :, -1].permute(1, 2, 0) * 255, frames[0, -1])
