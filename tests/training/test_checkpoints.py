from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from vap.training.checkpoints import Part, RunState, load_checkpoint, save_checkpoint
from vap.training.config import OptimizerConfig
from vap.training.optimizers import WeightAverage, build_optimizers, trainable_parameters

CONFIG = OptimizerConfig(name="muon", learning_rate=1e-2, muon_learning_rate=1e-2, warmup=0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x):
        return self.blocks(x) * self.scale


def run_state():
    net = Net()
    parameters = trainable_parameters(net)
    state = RunState(
        parameters, build_optimizers(parameters, CONFIG), WeightAverage(parameters, 0.9)
    )
    return net, state


def advance(net, state, steps):
    for step in steps:
        x = torch.randn(4, 6, generator=torch.Generator().manual_seed(step))
        net(x).square().mean().backward()
        for optimizer in state.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        state.average.update(state.parameters, step)


def test_a_continued_run_is_bit_identical_to_an_unbroken_one(tmp_path):
    unbroken, unbroken_state = run_state()
    advance(unbroken, unbroken_state, range(6))
    first, first_state = run_state()
    advance(first, first_state, range(3))
    save_checkpoint(tmp_path / "checkpoint", first_state, 3, "recipe")

    second, second_state = run_state()
    step = load_checkpoint(tmp_path / "checkpoint", second_state, "recipe")
    advance(second, second_state, range(step, 6))

    assert step == 3
    for a, b in zip(unbroken.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, value in unbroken_state.average.shadow.items():
        assert torch.equal(value, second_state.average.shadow[name])


def test_without_a_checkpoint_a_run_starts_at_zero(tmp_path):
    _, state = run_state()

    assert load_checkpoint(tmp_path / "checkpoint", state, "recipe") == 0


def test_another_recipes_checkpoint_is_refused(tmp_path):
    _, state = run_state()
    save_checkpoint(tmp_path / "checkpoint", state, 1, "recipe")

    with pytest.raises(ValueError, match="another recipe"):
        load_checkpoint(tmp_path / "checkpoint", state, "other")


def test_another_networks_checkpoint_is_refused(tmp_path):
    _, state = run_state()
    save_checkpoint(tmp_path / "checkpoint", state, 1, "recipe")
    other = nn.Linear(2, 2)
    parameters = trainable_parameters(other)

    with pytest.raises(ValueError, match="other weights"):
        load_checkpoint(
            tmp_path / "checkpoint",
            RunState(parameters, build_optimizers(parameters, OptimizerConfig())),
            "recipe",
        )


def test_an_interrupted_write_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    net, state = run_state()
    save_checkpoint(folder, state, 1, "recipe")
    advance(net, state, range(1))

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("vap.training.checkpoints.json.dump", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(folder, state, 2, "recipe")

    assert load_checkpoint(folder, run_state()[1], "recipe") == 1


def test_a_checkpoint_moved_aside_but_not_replaced_is_found(tmp_path):
    folder = tmp_path / "checkpoint"
    _, state = run_state()
    save_checkpoint(folder, state, 4, "recipe")
    folder.rename(folder.with_suffix(".previous"))

    assert load_checkpoint(folder, run_state()[1], "recipe") == 4


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"data_processes": 4}, r"2 different batches.*run\.context=2"),
        ({"shards": 4}, r"weights cut into 2.*cut into 4.*run\.sharding and run\.shard"),
    ],
)
def test_the_same_processes_shared_otherwise_are_refused(tmp_path, other, said):
    before = Part(processes=4, data_processes=2, shards=2)
    save_checkpoint(tmp_path / "checkpoint", run_state()[1], 1, "recipe", before)

    with pytest.raises(ValueError, match=said):
        load_checkpoint(tmp_path / "checkpoint", run_state()[1], "recipe", replace(before, **other))


def test_a_checkpoint_that_does_not_say_how_it_was_shared_is_loaded(tmp_path):
    folder, part = tmp_path / "checkpoint", Part(processes=4, data_processes=2, shards=2)
    save_checkpoint(folder, run_state()[1], 3, "recipe", part)
    content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    for name in ("data_processes", "shards"):
        del content[name]
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")

    assert load_checkpoint(folder, run_state()[1], "recipe", part) == 3


def test_another_number_of_optimisers_is_refused(tmp_path):
    net, state = run_state()
    save_checkpoint(tmp_path / "checkpoint", state, 1, "recipe")
    parameters = trainable_parameters(net)
    fewer = RunState(parameters, build_optimizers(parameters, OptimizerConfig()))

    with pytest.raises(ValueError, match="2 optimisers and this run has 1"):
        load_checkpoint(tmp_path / "checkpoint", fewer, "recipe")
