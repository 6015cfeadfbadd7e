import pytest
import torch

from vap.pipelines.denoiser import Guidance
from vap.training.objectives.consistency import consistency_loss, draw_points

SCHEDULE = torch.linspace(1, 0, 13)  # three phases of four


def test_neighbors_follow_each_other_within_a_phase() -> None:
    points = draw_points(SCHEDULE, 4, 500, torch.Generator().manual_seed(0))
    places = {round(12 * (1 - level)) for level in points.start.tolist()}
    assert places == set(range(12))
    for start, neighbor, end in zip(points.start, points.neighbor, points.end, strict=True):
        assert start - neighbor == pytest.approx(1 / 12, abs=1e-6)
        assert neighbor >= end - 1e-6
        assert start - end <= 4 / 12 + 1e-6
        assert round(3 * float(end), 5) in {0, 1, 2}


def test_whole_timesteps_stay_whole() -> None:
    points = draw_points(torch.tensor([999, 499, -1]), 1, 8, torch.Generator().manual_seed(0))
    assert points.start.dtype == torch.int64
    assert set(points.end.tolist()) <= {499, -1}


def test_guidance_of_one_is_the_conditional_prediction() -> None:
    told, untold = torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(Guidance(1.0).combine(told, untold, torch.tensor(0)), told)
    threefold = Guidance(3.0).combine(told, untold, torch.tensor(0))
    torch.testing.assert_close(threefold, 3 * told - 2 * untold)


def test_the_distance_is_zero_only_where_both_lead_to_one_place() -> None:
    place = torch.randn(2, 4, 3)
    other = place.clone()
    other[1] += 0.5
    loss = consistency_loss(place, other)
    assert loss[0] == 0
    assert loss[1] == pytest.approx(0.5, abs=1e-3)
