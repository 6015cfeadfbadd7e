from __future__ import annotations

import json
import shutil
import threading

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from vap.training.checkpoints import RunState, load_checkpoint, save_checkpoint
from vap.training.optimizers import WeightAverage, build_optimizers, trainable_parameters
from vap.training.parallel import Layout
from vap.training.sections import OptimizerConfig

RECIPE = {"loop.seed": 0, "optimizer.schedule": "cosine", "loop.steps": 6}
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
    save_checkpoint(tmp_path / "checkpoint", first_state, 3, RECIPE)

    second, second_state = run_state()
    step = load_checkpoint(tmp_path / "checkpoint", second_state, RECIPE)
    advance(second, second_state, range(step, 6))

    assert step == 3
    for a, b in zip(unbroken.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, value in unbroken_state.average.shadow.items():
        assert torch.equal(value, second_state.average.shadow[name])


def test_without_a_checkpoint_a_run_starts_at_zero(tmp_path):
    _, state = run_state()

    assert load_checkpoint(tmp_path / "checkpoint", state, RECIPE) == 0


def test_another_recipes_checkpoint_is_refused(tmp_path):
    _, state = run_state()
    save_checkpoint(tmp_path / "checkpoint", state, 1, RECIPE)

    other = {"loop.seed": 7, "optimizer.schedule": "cosine", "loop.steps": 8}
    with pytest.raises(ValueError, match=r"loop\.seed was 0 and is 7; loop\.steps was 6 and is 8"):
        load_checkpoint(tmp_path / "checkpoint", state, other)


def test_another_networks_checkpoint_is_refused(tmp_path):
    _, state = run_state()
    save_checkpoint(tmp_path / "checkpoint", state, 1, RECIPE)
    other = nn.Linear(2, 2)
    parameters = trainable_parameters(other)

    with pytest.raises(ValueError, match="other weights"):
        load_checkpoint(
            tmp_path / "checkpoint",
            RunState(parameters, build_optimizers(parameters, OptimizerConfig())),
            RECIPE,
        )


def test_an_interrupted_write_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoint"
    net, state = run_state()
    save_checkpoint(folder, state, 1, RECIPE)
    advance(net, state, range(1))

    def fail(*_args, **_kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("vap.training.checkpoints.sampled_digest", fail)
        with pytest.raises(OSError, match="disk full"):
            save_checkpoint(folder, state, 2, RECIPE)

    assert load_checkpoint(folder, run_state()[1], RECIPE) == 1


def test_a_checkpoint_moved_aside_but_not_replaced_is_found(tmp_path):
    folder = tmp_path / "checkpoint"
    _, state = run_state()
    save_checkpoint(folder, state, 4, RECIPE)
    folder.rename(folder.with_suffix(".previous"))

    assert load_checkpoint(folder, run_state()[1], RECIPE) == 4


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (Layout(copies=4), r"2 different batches.*run\.context=2"),
        (
            Layout(shards=2, context=2, sharded=True),
            r"with 2 shards.*has 4.*run\.sharding and run\.shard",
        ),
    ],
)
def test_the_same_processes_shared_otherwise_are_refused(tmp_path, other, said):
    before = Layout(copies=2, context=2, sharded=True)
    save_checkpoint(tmp_path / "checkpoint", run_state()[1], 1, RECIPE, before)

    with pytest.raises(ValueError, match=said):
        load_checkpoint(tmp_path / "checkpoint", run_state()[1], RECIPE, other)


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

        try:
            results[rank] = act(rank, gather)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_processes_that_find_different_checkpoints_are_refused_all_of_them(tmp_path):
    save_checkpoint(tmp_path / "0" / "checkpoint", run_state()[1], 7, RECIPE, Layout(copies=2))

    def load(rank, gather):
        folder = tmp_path / str(rank) / "checkpoint"
        return load_checkpoint(folder, run_state()[1], RECIPE, Layout(2, rank=rank), gather)

    for found in in_processes(2, load):
        assert "continue at step 7 in process 0, 0 in process 1" in str(found)


def shards_of_two_copies(tmp_path, act):
    def one(rank, gather):
        return act(tmp_path / "checkpoint", Layout(2, 2, sharded=True, rank=rank), gather)

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
        tmp_path,
        lambda folder, layout, gather: save_checkpoint(
            folder, states[layout.rank], 1, RECIPE, layout, gather
        ),
    )
    assert len(list((tmp_path / "checkpoint").glob("tensors-*"))) == 2

    fresh = [run_state()[1] for _ in range(4)]
    steps = shards_of_two_copies(
        tmp_path,
        lambda folder, layout, gather: load_checkpoint(
            folder, fresh[layout.rank], RECIPE, layout, gather
        ),
    )
    assert steps == [1] * 4
    for before, after in zip(states, fresh, strict=True):
        for (_, a), (_, b) in zip(before.parameters, after.parameters, strict=True):
            assert torch.equal(a, b)


def tensors_changed(change):
    def act(folder):
        place = folder / "tensors.safetensors"
        save_file(change(load_file(place)), place)

    return act


def state_changed(**values):
    def act(folder):
        place = folder / "state.json"
        place.write_text(json.dumps({**json.loads(place.read_text()), **values}))

    return act


def state_written(content):
    return lambda folder: (folder / "state.json").write_bytes(content)


def cut_by_a_byte(folder):
    place = folder / "tensors.safetensors"
    place.write_bytes(place.read_bytes()[:-1])


def replaced_by_a_file(folder):
    shutil.rmtree(folder)
    folder.write_text("")


def replaced_by_a_loop(folder):
    shutil.rmtree(folder)
    folder.symlink_to(folder)


DAMAGES = {
    "tensors cut": cut_by_a_byte,
    "tensors gone": lambda folder: (folder / "tensors.safetensors").unlink(),
    "no moments": tensors_changed(
        lambda tensors: {n: t for n, t in tensors.items() if not n.startswith("optimizer")}
    ),
    "int weights": tensors_changed(lambda tensors: {n: t.int() for n, t in tensors.items()}),
    "not finite": tensors_changed(lambda tensors: {n: t * torch.nan for n, t in tensors.items()}),
    "state empty": state_written(b""),
    "state deep": state_written(b"[" * 100_000),
    "state binary": state_written(b"\xff\xfe"),
    "negative step": state_changed(step=-1),
    "step as text": state_changed(step="2"),
    "no digest": state_changed(digests={}),
    "a file": replaced_by_a_file,
    "a loop": replaced_by_a_loop,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(tmp_path, damage, caplog):
    folder = tmp_path / "checkpoint"
    net, state = run_state()
    advance(net, state, range(1))
    save_checkpoint(folder, state, 1, RECIPE)
    before = shutil.copytree(folder, tmp_path / "copy")
    damage(folder)
    fresh = run_state()[1]
    weights = [value.clone() for _, value in fresh.parameters]

    with pytest.raises(ValueError, match=str(folder)):
        load_checkpoint(folder, fresh, RECIPE)
    assert all(torch.equal(a, b) for a, (_, b) in zip(weights, fresh.parameters, strict=True))

    before.rename(folder.with_suffix(".previous"))
    assert load_checkpoint(folder, fresh, RECIPE) == 1
    assert str(folder.with_suffix(".previous")) in caplog.text
    save_checkpoint(folder, fresh, 2, RECIPE)
    assert load_checkpoint(folder, fresh, RECIPE) == 2


def test_a_part_that_one_process_finds_damaged_stops_all(tmp_path):
    states = states_of_two_copies()
    shards_of_two_copies(
        tmp_path,
        lambda folder, layout, gather: save_checkpoint(
            folder, states[layout.rank], 1, RECIPE, layout, gather
        ),
    )
    (tmp_path / "checkpoint" / "tensors-00001.safetensors").write_bytes(b"junk")

    for found in shards_of_two_copies(
        tmp_path,
        lambda folder, layout, gather: load_checkpoint(
            folder, run_state()[1], RECIPE, layout, gather
        ),
    ):
        assert isinstance(found, ValueError)
