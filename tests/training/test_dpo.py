import math

import pytest
import torch

from vap.training.objectives.preference import preference_loss, win_margin

MODEL = torch.tensor([0.10, 0.30, 0.12, 0.28])
REFERENCE = torch.tensor([0.11, 0.29, 0.115, 0.30])
WEIGHT = torch.tensor([2.0, 0.5])


def test_loss_is_the_formula_written_out_by_hand() -> None:
    loss = preference_loss(win_margin(MODEL, REFERENCE), WEIGHT, beta=500)
    for i, margin in enumerate([(0.10 - 0.12) - (0.11 - 0.115), (0.30 - 0.28) - (0.29 - 0.30)]):
        expected = -math.log(1 / (1 + math.exp(0.5 * 500 * margin))) * float(WEIGHT[i])
        assert float(loss[i]) == pytest.approx(expected, rel=1e-4)


def test_a_model_that_equals_its_reference_costs_log_two() -> None:
    margin = win_margin(REFERENCE, REFERENCE)
    assert preference_loss(margin, torch.ones(2), beta=500).tolist() == pytest.approx(
        [math.log(2)] * 2
    )


def test_the_gradient_lowers_the_winner_and_raises_the_loser() -> None:
    winner, loser = torch.tensor([0.2], requires_grad=True), torch.tensor([0.2], requires_grad=True)
    margin = win_margin(torch.cat([winner, loser]), torch.tensor([0.2, 0.2]))
    preference_loss(margin, torch.ones(1), beta=500).sum().backward()
    assert winner.grad.item() == pytest.approx(125.0)
    assert loser.grad.item() == pytest.approx(-125.0)


def test_a_hopeless_margin_stays_finite() -> None:
    assert torch.isfinite(preference_loss(torch.tensor([10.0]), torch.ones(1), beta=500)).all()
