import json

import pytest
from typer.testing import CliRunner

from tests.cli.running import refusal
from tests.training.tuning_tiny import GOLDEN, recipe_tree, write_dataset
from vap.cli.app import app
from vap.files.errors import MachineError

RUNNER = CliRunner()


def run(*arguments):
    return RUNNER.invoke(app, ["train", *arguments])


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("wan-14b/expert", "20.7B of which 4.3B expert"),
        ("cogvideox-5b/expert", "11.1B of which 5.5B expert"),
    ],
)
def test_a_dry_run_prints_the_released_sizes(recipe, said) -> None:
    planned = run(recipe, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert said in planned.stdout
    assert {"parameters", "memory", "steps", "time"} <= {
        line.split()[0] for line in planned.stdout.splitlines() if line[:1].strip()
    }


def test_a_plan_is_given_to_machines_as_json() -> None:
    plan = json.loads(run("wan-14b/expert", "--dry-run", "--json").stdout)
    assert plan["fits"] is True
    assert plan["steps"] == 20000


def test_a_dry_run_of_another_stage_is_refused() -> None:
    refused = run("vap-mini/4b-expert", "--dry-run")
    assert refused.exit_code == 2
    assert "sft, dpo and distill" in refused.output


def test_resuming_nothing_is_refused(tmp_path) -> None:
    refused = run("wan-14b/expert", "--resume", "--set", f"output={tmp_path}")
    assert refused.exit_code == 2
    assert "no checkpoint" in refused.output


@pytest.fixture
def stage(monkeypatch):
    """What the stage does, in place of training."""

    def does(act):
        monkeypatch.setattr("vap.training.stages.run_recipe", act)

    return does


def fails(error):
    def act(_):
        raise error

    return act


def test_numbers_that_ran_away_are_no_fault_of_the_program(stage) -> None:
    said = "The loss is nan at step 3 in process 0 on a.mp4; no weight was changed."
    stage(fails(FloatingPointError(said)))
    assert refusal("train", "wan-14b/expert", code=1) == f"error: {said}"


def test_a_machine_that_ran_short_is_no_fault_of_the_input(stage) -> None:
    stage(fails(MachineError("a.mp4: the machine ran short of memory.")))
    assert "a.mp4" in refusal("train", "wan-14b/expert", code=1)


def test_memory_is_saved_by_what_recipes_have(stage) -> None:
    stage(fails(RuntimeError("CUDA out of memory")))
    message = refusal("train", "wan-14b/expert", code=1)
    assert "loop.batch_size" in message
    assert "run.sharding" in message
    assert "--height" not in message


def test_a_written_folder_is_named_as_it_is_by_the_first_process_alone(stage, monkeypatch) -> None:
    folder = f"/{'a long name/' * 12}[v2]"
    stage(lambda _: folder)
    assert run("wan-14b/expert").stdout == f"wrote {folder}\n"
    monkeypatch.setenv("RANK", "1")
    assert run("wan-14b/expert").stdout == ""
    assert run("wan-14b/expert", "--json").stdout == ""


def test_a_dry_run_names_all_problems_at_once(tmp_path) -> None:
    write_dataset(tmp_path / "data", "wan")
    start = {"start": str(GOLDEN / "wan"), "expert": str(tmp_path / "no-expert")}
    tree = recipe_tree(
        tmp_path / "data",
        tmp_path,
        "wan",
        model=start,
        data={"splits": ["trian"]},
        flow={"prediction": "sample"},
        run={"trackers": ["tensorbored"]},
        hardware={"gpus": 1},
    )
    (tmp_path / "recipe.yaml").write_text(json.dumps(tree))
    said = refusal("train", str(tmp_path / "recipe.yaml"), "--dry-run")
    for wrong in ("trian", "flow.prediction", "tensorbored", "no-expert"):
        assert wrong in said, said


def test_a_dry_run_says_what_is_not_here_yet() -> None:
    planned = run("wan-14b/expert", "--dry-run")
    assert planned.exit_code == 0
    assert "missing     " in planned.stdout
    assert json.loads(run("wan-14b/expert", "--dry-run", "--json").stdout)["missing"]
