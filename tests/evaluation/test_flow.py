import numpy as np
import pytest

from vap.evaluation.flow import draw_flow, flow_model, flow_name


def textured(shift: int = 0) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.random((24, 24, 3))
    fine = np.kron(coarse, np.ones((6, 6, 1)))
    return (np.roll(fine, shift, axis=1) * 255).astype(np.uint8)


@pytest.mark.parametrize("shift", [-3, 2, 5])
def test_dis_flow_finds_a_known_shift(shift: int) -> None:
    flow = flow_model()(textured(), textured(shift))
    middle = flow[16:-16, 16:-16]
    assert np.median(middle[..., 0]) == pytest.approx(shift, abs=0.2)
    assert np.median(middle[..., 1]) == pytest.approx(0, abs=0.2)


def test_a_still_has_no_flow_and_is_drawn_white() -> None:
    flow = flow_model()(textured(), textured())
    assert np.abs(flow).max() == 0
    assert (draw_flow(flow) == 255).all()


@pytest.mark.parametrize(
    ("direction", "color"),
    [((1.0, 0.0), (255, 0, 0)), ((-1.0, 0.0), (0, 209, 255)), ((0.0, 0.0), (255, 255, 255))],
)
def test_the_hue_is_the_direction(direction: tuple[float, float], color: tuple[int, ...]) -> None:
    flow = np.zeros((2, 2, 2), np.float32)
    flow[0, 0] = direction
    flow[1, 1] = (1.0, 0.0)  # the longest
    drawn = draw_flow(flow)[0, 0].astype(int)
    assert np.abs(drawn - color).max() <= 26, drawn


def test_half_the_length_is_half_as_saturated() -> None:
    flow = np.array([[[1.0, 0.0], [0.5, 0.0]]], np.float32)
    full, half = draw_flow(flow)[0].astype(int)
    assert full[1] == 0
    assert half[1] == 127


def test_models_are_told_apart_by_name(tmp_path) -> None:
    assert flow_name(None) == "DIS"
    assert flow_name(tmp_path / "raft.safetensors") == "RAFT"
