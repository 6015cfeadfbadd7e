"""Several processes do what one does."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.ranks import gloo_rank
from tests.training.tuning_tiny import metrics_of, recipe_of
from vap.training.stages import run_recipe

pytestmark = pytest.mark.slow

PROCESSES = 2


def one_of_many(rank: int, processes: int, rendezvous: Path, recipe) -> None:
    import os

    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    with gloo_rank(rank, processes, rendezvous):
        run_recipe(recipe)


def run_together(recipe, folder: Path, count: int = PROCESSES) -> Path:
    """Run a recipe in several processes that talk over gloo."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vap.training.stages.sft", "vap.training.methods.lora"])
    rendezvous = folder / "rendezvous"
    processes = [
        context.Process(target=one_of_many, args=(rank, count, rendezvous, recipe))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count
    return Path(recipe.output)


def trained(datasets, output, variant, run, **loop):
    return recipe_of(
        datasets[variant],
        output,
        variant,
        loop={"batch_size": 1, "steps": 3, **loop},
        run=run,
        model={"gradient_checkpointing": True},
        # Adam divides noise by noise where a gradient is next to nothing.
        optimizer={"epsilon": 1e-3},
    )


def assert_same_training(first: Path, second: Path) -> None:
    for line, expected in zip(metrics_of(first), metrics_of(second), strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert line["gradient"] == pytest.approx(expected["gradient"], rel=1e-3)
    a, b = load_file(first / "expert.safetensors"), load_file(second / "expert.safetensors")
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def alone(datasets, tmp_path_factory):
    """One process that accumulates what two processes do at once."""
    outputs = {}
    for variant in ("wan", "cogvideox"):
        outputs[variant] = tmp_path_factory.mktemp(f"alone-{variant}")
        run_recipe(trained(datasets, outputs[variant], variant, {"accumulate": PROCESSES}))
    return outputs


@pytest.mark.parametrize(
    ("variant", "run"),
    [
        ("wan", {}),
        ("wan", {"sharding": "fsdp"}),
        ("cogvideox", {"sharding": "fsdp"}),
    ],
    ids=["ddp", "fsdp", "fsdp-cogvideox"],
)
def test_two_processes_train_as_one(variant, run, datasets, alone, tmp_path) -> None:
    output = run_together(trained(datasets, tmp_path, variant, run), tmp_path)
    assert_same_training(output, alone[variant])


@pytest.mark.parametrize(
    "run",
    [{"context": 2}, {"context": 2, "sharding": "fsdp"}, {"sharding": "hsdp", "shard": 2}],
    ids=["context", "context-fsdp", "hsdp"],
)
def test_four_processes_train_as_one(run, datasets, tmp_path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    run_together(trained(datasets, together, "wan", run), tmp_path, count=4)
    run_recipe(trained(datasets, alone, "wan", {"accumulate": 4 // run.get("context", 1)}))
    assert_same_training(together, alone)
    if "sharding" in run:  # each part once, however many copies there are
        parts = sorted(path.name for path in (together / "checkpoint").glob("tensors*"))
        shards = run.get("shard", 4)
        assert parts == [f"tensors-{shard:05d}.safetensors" for shard in range(shards)]


@pytest.mark.parametrize("variant", ["wan", "cogvideox"])
def test_two_processes_share_each_video_and_train_as_one(variant, datasets, tmp_path) -> None:
    shared = run_together(trained(datasets, tmp_path / "two", variant, {"context": 2}), tmp_path)
    run_recipe(trained(datasets, tmp_path / "one", variant, {}))
    assert_same_training(shared, tmp_path / "one")


def test_shards_of_mixed_precision_train_as_one_process(datasets, tmp_path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    changes = {"precision": "bf16"}
    run_together(trained(datasets, together, "wan", {"sharding": "fsdp"}, **changes), tmp_path)
    run_recipe(trained(datasets, alone, "wan", {"accumulate": 2}, **changes))
    for line, expected in zip(metrics_of(together), metrics_of(alone), strict=True):
        assert line["loss"] == pytest.approx(expected["loss"], rel=1e-2)
    saved = load_file(together / "expert.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


def test_bfloat16_weights_and_their_average_are_spread_like_all(datasets, tmp_path) -> None:
    changes = {"model": {"weights": "bfloat16"}, "optimizer": {"ema": 0.9}}
    run = {"sharding": "fsdp"}
    together, alone = (
        recipe_of(
            datasets["wan"],
            tmp_path / name,
            "wan",
            loop={"batch_size": 1, "precision": "bf16"},
            run=spread,
            **changes,
        )
        for name, spread in (("together", run), ("alone", {"accumulate": 2}))
    )
    run_together(together, tmp_path)
    run_recipe(alone)
    for line, expected in zip(
        metrics_of(tmp_path / "together"), metrics_of(tmp_path / "alone"), strict=True
    ):
        assert line["loss"] == pytest.approx(expected["loss"], rel=2e-2)
    parts = load_file(tmp_path / "together" / "checkpoint" / "tensors-00000.safetensors")
    kinds = {name.split(".")[0]: tensor.dtype for name, tensor in parts.items()}
    assert (kinds["model"], kinds["average"]) == (torch.bfloat16, torch.float32)


def test_a_sharded_run_continues_where_it_stopped(datasets, alone, tmp_path) -> None:
    run = {"sharding": "fsdp"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    output = tmp_path / "run"
    run_together(trained(datasets, output, "wan", run, stop=2), tmp_path / "a")
    assert len(list((output / "checkpoint").glob("tensors-*.safetensors"))) == PROCESSES
    state = json.loads((output / "checkpoint" / "state.json").read_text(encoding="utf-8"))
    assert (state["shards"], state["data_processes"]) == (PROCESSES, PROCESSES)
    run_together(trained(datasets, output, "wan", run), tmp_path / "b")
    assert_same_training(output, alone["wan"])


def test_another_number_of_processes_is_refused(datasets, tmp_path) -> None:
    run_together(trained(datasets, tmp_path / "run", "wan", {}, stop=1), tmp_path)
    with pytest.raises(ValueError, match="written by 2 processes"):
        run_recipe(trained(datasets, tmp_path / "run", "wan", {}))


def test_copies_continue_from_the_one_that_was_written(datasets, tmp_path) -> None:
    run, output = {"sharding": "hsdp", "shard": 2}, tmp_path / "run"
    for name, loop in (("a", {"stop": 2}), ("b", {})):
        (tmp_path / name).mkdir()
        run_together(trained(datasets, output, "wan", run, **loop), tmp_path / name, count=4)
    run_recipe(trained(datasets, tmp_path / "alone", "wan", {"accumulate": 4}))
    assert_same_training(output, tmp_path / "alone")


def one_without_shared_disks(rank: int, processes: int, rendezvous: Path, recipe) -> None:
    """Be on a machine of its own; what is said there goes into a file."""
    import os

    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(rank)
    machine = rendezvous.parent / f"machine-{rank}"
    machine.mkdir()
    os.chdir(machine)
    with gloo_rank(rank, processes, rendezvous):
        try:
            run_recipe(recipe)
        except ValueError as error:
            Path("said.txt").write_text(str(error), encoding="utf-8")


def test_machines_that_do_not_share_the_output_are_refused_at_once(datasets, tmp_path) -> None:
    recipe = trained(datasets, Path("out"), "wan", {})
    context = multiprocessing.get_context("forkserver")
    processes = [
        context.Process(target=one_without_shared_disks, args=(rank, 2, tmp_path / "meet", recipe))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for rank in range(2):
        said = (tmp_path / f"machine-{rank}" / "said.txt").read_text(encoding="utf-8")
        assert "Processes 1 cannot see files of process 0 in the output folder out" in said
        assert {file.name for file in (tmp_path / f"machine-{rank}" / "out").iterdir()} <= {".lock"}
