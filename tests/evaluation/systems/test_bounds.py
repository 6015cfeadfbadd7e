"""Stills, truths and reconstructions."""

import numpy as np
import pytest

from vap.evaluation.benchmarks.synth import render_benchmark
from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job
from vap.evaluation.systems.bounds import Autoencoder, Static, Truth
from vap.media import read_clip
from vap.shapes import PixelShape


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    shape = PixelShape(5, 32, 64)
    folder = tmp_path_factory.mktemp("benchmark")
    return render_benchmark(folder, 1, conditions=["sepia"], seed=0, shape=shape).cases[0]


def made(system, case, folder):
    job = Job(case, 0, folder / system.name, case.reference)
    (outcome,) = system.run([job], folder)
    assert outcome.error is None
    clip = read_clip(job.output)
    assert clip.fps == 8
    return clip.frames


def test_a_still_repeats_the_image_for_as_long_as_the_truth(case, tmp_path):
    truth = read_clip(case.truth).frames
    still = made(Static(name="static"), case, tmp_path)
    np.testing.assert_array_equal(still, np.repeat(truth[:1], len(truth), axis=0))


def test_the_truth_is_itself(case, tmp_path):
    truth = made(Truth(name="truth"), case, tmp_path)
    np.testing.assert_array_equal(truth, read_clip(case.truth).frames)


def test_a_reconstruction_has_the_shape_of_the_truth_and_is_not_it(case, tiny, tmp_path):
    system = Autoencoder(name="autoencoder", model=str(tiny), device="cpu")
    frames, truth = made(system, case, tmp_path), read_clip(case.truth).frames
    assert frames.shape == truth.shape
    assert not np.array_equal(frames, truth)


@pytest.mark.parametrize("kind", [Truth, Autoencoder])
def test_cases_without_a_truth_are_not_covered(kind, case):
    assert kind(name="bound").covers(case)
    assert not kind(name="bound").covers(Case("x", "melt", case.image, case.reference))
