import json

import pytest
from typer.testing import CliRunner

from vap.cli.app import app

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
    refused = run("vap-mini-4b-expert", "--dry-run")
    assert refused.exit_code == 2
    assert "sft, dpo and distill" in refused.output


def test_resuming_nothing_is_refused(tmp_path) -> None:
    refused = run("wan-14b/expert", "--resume", "--set", f"output={tmp_path}")
    assert refused.exit_code == 2
    assert "no checkpoint" in refused.output
