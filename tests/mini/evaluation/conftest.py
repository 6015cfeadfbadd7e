import pytest

from tests.mini.conftest import SHAPE
from vap.mini.evaluation.cases import choose_cases, render_case
from vap.mini.evaluation.scores import Score
from vap.mini.evaluation.trained import load_model

CONDITIONS = ("sepia", "invert", "spiral_zoom")


@pytest.fixture(scope="session")
def model(tiny):
    return load_model(tiny)


@pytest.fixture(scope="session")
def cases():
    specs = choose_cases(3, seed=0, conditions=CONDITIONS)
    return [render_case(spec, SHAPE, 0) for spec in specs]


@pytest.fixture
def score():
    """Makes scores with one error, for a case of one split."""

    def make(system, error, index=0, split="seen", recognized="sepia"):
        return Score(system, "abc", split, index, "sepia", error, recognized, 30.0, 0.5)

    return make
