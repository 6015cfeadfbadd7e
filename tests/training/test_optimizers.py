from __future__ import annotations

import pytest
import torch
from torch import nn

from vap.training.muon import Muon, orthogonalize
from vap.training.optimizers import (
    WeightAverage,
    build_optimizers,
    schedule_factor,
    trainable_parameters,
)
from vap.training.sections import OptimizerConfig


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_orthogonalized_singular_values_are_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    values = torch.linalg.svdvals(orthogonalize(matrix))

    assert values.min() > 0.5
    assert values.max() < 1.3


def test_muon_moves_every_direction_of_a_convolution_alike():
    weight = nn.Parameter(torch.zeros(4, 3, 1, 2, 2))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))

    Muon([weight], lr=1.0).step()

    values = torch.linalg.svdvals(weight.detach().flatten(1))
    assert values.min() / values.max() > 0.4
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.2, abs=0.05)


def test_every_parameter_has_exactly_one_optimizer():
    net = nn.ModuleDict({"blocks": nn.Sequential(nn.Linear(3, 3)), "head": nn.Linear(3, 2)})
    parameters = trainable_parameters(net)

    optimizers = build_optimizers(parameters, OptimizerConfig(name="muon"))

    held = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert sorted(map(id, held)) == sorted(id(p) for _, p in parameters)
    assert [p.shape for p in optimizers[1].param_groups[0]["params"]] == [(3, 3)]


def test_vectors_are_not_decayed():
    net = nn.Linear(3, 3)

    (adamw,) = build_optimizers(trainable_parameters(net), OptimizerConfig(weight_decay=0.1))

    decays = {id(p): g["weight_decay"] for g in adamw.param_groups for p in g["params"]}
    assert decays[id(net.weight)] == 0.1
    assert decays[id(net.bias)] == 0.0


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="Nothing trains"):
        build_optimizers([], OptimizerConfig())


def test_rate_warms_up_then_falls_to_zero():
    config = OptimizerConfig(warmup=10, schedule="cosine")

    factors = [schedule_factor(step, 100, config) for step in (0, 9, 10, 55, 100)]

    assert factors == pytest.approx([0.1, 1.0, 1.0, 0.5, 0.0])


def test_a_constant_rate_stays():
    assert schedule_factor(99, 100, OptimizerConfig(warmup=10, schedule="constant")) == 1.0


def test_the_average_follows_the_weights():
    net = nn.Linear(2, 2)
    parameters = trainable_parameters(net)
    average = WeightAverage(parameters, decay=0.5)
    first = net.weight.detach().clone()
    with torch.no_grad():
        net.weight.add_(1.0)

    average.update(parameters, step=1000)
    average.copy_to(parameters)

    assert torch.allclose(net.weight, first + 0.5)


def test_the_average_stands_in_for_a_while_and_leaves_every_bit():
    net = nn.Linear(2, 2).to(torch.bfloat16)
    parameters = trainable_parameters(net)
    average = WeightAverage(parameters, decay=0.5)
    with torch.no_grad():
        net.weight.add_(1.0)
    average.update(parameters, step=1000)
    own, shadow = net.weight.detach().clone(), average.shadow["weight"].clone()

    def stand_in() -> None:
        with average.in_place(parameters):
            assert torch.equal(net.weight, shadow.to(torch.bfloat16))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stand_in()
    assert torch.equal(net.weight, own)
    assert torch.equal(average.shadow["weight"], shadow)


def test_muon_takes_the_matrices_inside_the_blocks_of_both_variants():
    for blocks in ("blocks", "transformer_blocks"):
        net = nn.ModuleDict({blocks: nn.Sequential(nn.Linear(3, 3)), "head": nn.Linear(3, 2)})

        _, muon = build_optimizers(trainable_parameters(net), OptimizerConfig(name="muon"))

        assert muon.param_groups[0]["params"] == [net[blocks][0].weight]


def test_muon_without_a_matrix_of_its_own_is_an_error():
    with pytest.raises(ValueError, match="no matrix inside a block"):
        build_optimizers(trainable_parameters(nn.Linear(3, 3)), OptimizerConfig(name="muon"))
