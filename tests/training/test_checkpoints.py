from __future__ import annotations

import json
import shutil
import threading
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


def test_another_number_of_optimizers_is_refused(tmp_path):
    net, state = run_state()
    save_checkpoint(tmp_path / "checkpoint", state, 1, "recipe")
    parameters = trainable_parameters(net)
    fewer = RunState(parameters, build_optimizers(parameters, OptimizerConfig()))

    with pytest.raises(ValueError, match="2 optimizers and this run has 1"):
        load_checkpoint(tmp_path / "checkpoint", fewer, "recipe")


def in_processes(count, act):
    """Let threads stand for processes; what each returns or raises."""
    barrier, given, results = threading.Barrier(count), [0] * count, [None] * count

    def one(rank):
        def gather(value):
            given[rank] = value
            barrier.wait(10)
            values = list(given)
            barrier.wait(10)
            return values

        def wait():
            barrier.wait(10)

        try:
            results[rank] = act(rank, wait, gather)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_processes_that_find_different_checkpoints_are_refused_all_of_them(tmp_path):
    save_checkpoint(tmp_path / "0" / "checkpoint", run_state()[1], 7, "recipe", Part(processes=2))

    def load(rank, wait, gather):
        part = Part(rank, 2, wait=wait, gather=gather)
        folder = tmp_path / str(rank) / "checkpoint"
        return load_checkpoint(folder, run_state()[1], "recipe", part)

    for found in in_processes(2, load):
        assert "continue at step 7 in process 0, 0 in process 1" in str(found)


def shards_of_two_copies(tmp_path, act):
    def one(rank, wait, gather):
        part = Part(rank, 4, sharded=True, data_processes=4, shards=2, wait=wait, gather=gather)
        return act(tmp_path / "checkpoint", part)

    return in_processes(4, one)


def states_of_two_copies():
    """Copies hold the same; a copy's two parts differ."""
    states = []
    for rank in range(4):
        net, state = run_state()
        advance(net, state, range(1 + rank % 2))
        states.append(state)
    return states


def test_only_the_first_copy_writes_its_parts(tmp_path):
    states = states_of_two_copies()
    shards_of_two_copies(
        tmp_path, lambda folder, part: save_checkpoint(folder, states[part.rank], 1, "recipe", part)
    )
    assert len(list((tmp_path / "checkpoint").glob("tensors-*"))) == 2

    fresh = [run_state()[1] for _ in range(4)]
    steps = shards_of_two_copies(
        tmp_path, lambda folder, part: load_checkpoint(folder, fresh[part.rank], "recipe", part)
    )
    assert steps == [1] * 4
    for before, after in zip(states, fresh, strict=True):
        for (_, a), (_, b) in zip(before.parameters, after.parameters, strict=True):
            assert torch.equal(a, b)


def test_parts_that_an_earlier_version_wrote_for_every_copy_are_loaded(tmp_path):
    states = states_of_two_copies()
    shards_of_two_copies(
        tmp_path, lambda folder, part: save_checkpoint(folder, states[part.rank], 1, "recipe", part)
    )
    for rank in (2, 3):  # of the second copy, named by process
        part = tmp_path / "checkpoint" / f"tensors-{rank - 2:05d}.safetensors"
        shutil.copy(part, part.with_name(f"tensors-{rank:05d}.safetensors"))

    steps = shards_of_two_copies(
        tmp_path, lambda folder, part: load_checkpoint(folder, run_state()[1], "recipe", part)
    )
    assert steps == [1] * 4
