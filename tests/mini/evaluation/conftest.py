import pytest

from tests.mini.conftest import SHAPE
from vap.evaluation.benchmarks.synth import render_benchmark

CONDITIONS = ("sepia", "invert", "spiral_zoom")


@pytest.fixture(scope="session")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    return render_benchmark(folder, 3, conditions=CONDITIONS, seed=0, shape=SHAPE).cases
