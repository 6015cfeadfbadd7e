import json
import multiprocessing
import os
import shutil
import signal
import time

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tuning_tiny import metrics_of, recipe_of
from vap.training.shared_folder import alone_in
from vap.training.stages import run_recipe

STEPS = 40
LOOP = {"steps": STEPS, "batch_size": 2, "checkpoint_every": 4}
CHANGES = {
    "loop": LOOP,
    "data": {"references": 3, "reference_drop": 0.3, "caption_drop": 0.3},
    "optimizer": {"ema": 0.9},
}


def same_weights(first, second):
    """Whether two runs ended with the same expert, average and moments, bit for bit."""
    for file in ("expert.safetensors", "checkpoint/tensors.safetensors"):
        a, b = load_file(first / file), load_file(second / file)
        assert a.keys() == b.keys()
        if not all(torch.equal(a[name], b[name]) for name in a):
            return False
    return True


def run_quietly(recipe):
    torch.set_num_threads(1)
    run_recipe(recipe)


def lines_of(output):
    log = output / "metrics.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0


@pytest.fixture(scope="module")
def unbroken(datasets, tmp_path_factory):
    output = tmp_path_factory.mktemp("unbroken")
    run_recipe(recipe_of(datasets["wan"], output, "wan", **CHANGES))
    return output


@pytest.mark.slow
def test_killed_and_continued_it_ends_with_the_same_bits(datasets, unbroken, tmp_path) -> None:
    recipe = recipe_of(datasets["wan"], tmp_path, "wan", **CHANGES)
    # A server that has the modules loaded forks the processes that are killed.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vap.training.stages.sft", "vap.training.methods.lora"])
    reached = []
    for line in (2, 5, 11, 18, 27, 38):
        process = context.Process(target=run_quietly, args=(recipe,))
        process.start()
        while process.is_alive() and lines_of(tmp_path) < line:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        state = tmp_path / "checkpoint" / "state.json"
        reached.append(json.loads(state.read_text())["step"] if state.is_file() else 0)
    assert reached == sorted(reached)
    assert reached[-1] > reached[0]
    assert reached[-1] < STEPS
    run_recipe(recipe)
    assert same_weights(tmp_path, unbroken)
    assert [line["step"] for line in metrics_of(tmp_path)] == list(range(1, STEPS + 1))
    for line, expected in zip(metrics_of(tmp_path), metrics_of(unbroken), strict=True):
        assert line["loss"] == expected["loss"]


@pytest.mark.slow
def test_stopped_between_any_two_renames_it_continues(datasets, unbroken, tmp_path) -> None:
    half = recipe_of(datasets["wan"], tmp_path, "wan", **{**CHANGES, "loop": {**LOOP, "stop": 4}})
    run_recipe(half)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.previous")
    shutil.copytree(tmp_path / "checkpoint.previous", tmp_path / "checkpoint.partial")
    (tmp_path / "checkpoint.partial" / "state.json").unlink()
    run_recipe(recipe_of(datasets["wan"], tmp_path, "wan", **CHANGES))
    assert same_weights(tmp_path, unbroken)


def test_another_recipe_is_refused_and_leaves_the_checkpoint(datasets, tmp_path) -> None:
    run_recipe(recipe_of(datasets["wan"], tmp_path, "wan"))
    before = (tmp_path / "checkpoint" / "tensors.safetensors").read_bytes()
    other = recipe_of(datasets["wan"], tmp_path, "wan", optimizer={"learning_rate": 2e-3})
    with pytest.raises(ValueError, match=r"learning_rate was 0\.001 and is 0\.002.*model\.expert="):
        run_recipe(other)
    assert (tmp_path / "checkpoint" / "tensors.safetensors").read_bytes() == before


def test_a_finished_run_goes_on_to_more_steps_of_a_constant_schedule(datasets, tmp_path) -> None:
    short, long = ({"loop": {"steps": steps}} for steps in (2, 4))
    for changes in (short, long):
        run_recipe(recipe_of(datasets["wan"], tmp_path / "extended", "wan", **changes))
    run_recipe(recipe_of(datasets["wan"], tmp_path / "unbroken", "wan", **long))
    assert same_weights(tmp_path / "extended", tmp_path / "unbroken")
    assert [line["step"] for line in metrics_of(tmp_path / "extended")] == [1, 2, 3, 4]

    with pytest.raises(ValueError, match=r"is at step 4, and this recipe ends at 2.*loop\.steps"):
        run_recipe(recipe_of(datasets["wan"], tmp_path / "extended", "wan", **short))
    cosine = {**long, "optimizer": {"schedule": "cosine"}}
    with pytest.raises(ValueError, match=r"optimizer\.schedule was 'constant' and is 'cosine'"):
        run_recipe(recipe_of(datasets["wan"], tmp_path / "extended", "wan", **cosine))


def test_a_second_run_into_the_same_output_is_refused(datasets, tmp_path) -> None:
    recipe = recipe_of(datasets["wan"], tmp_path, "wan")
    with alone_in(tmp_path), pytest.raises(ValueError, match=f"Another run .*{tmp_path}"):
        run_recipe(recipe)
    assert not (tmp_path / "metrics.jsonl").exists()
    run_recipe(recipe)


def test_what_is_reported_and_planned_is_no_part_of_a_recipes_identity(datasets, tmp_path) -> None:
    run_recipe(recipe_of(datasets["wan"], tmp_path, "wan", loop={"stop": 1}))
    run_recipe(
        recipe_of(
            datasets["wan"],
            tmp_path,
            "wan",
            run={"trackers": ["tensorboard"]},
            hardware={"gpus": 3},
        )
    )
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2, 3]
    assert list((tmp_path / "logs").rglob("events.out.tfevents*"))
