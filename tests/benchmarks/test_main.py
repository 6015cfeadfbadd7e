import json
import sys
from dataclasses import replace

import pytest
import torch
from benchmarks.__main__ import main
from benchmarks.checkpoint import write_checkpoint
from benchmarks.measure import Row
from benchmarks.plan import Plan
from benchmarks.prediction import predict_runs
from benchmarks.report import Report
from benchmarks.sizes import SIZES
from benchmarks.systems import peer_system, profile_system

FORK = "diffusers/src/diffusers/models/transformers/transformer_wan_mot.py"


@pytest.fixture
def checkout(tmp_path):
    """What is looked for in a checkout of the released repository, and an interpreter."""
    (tmp_path / FORK).parent.mkdir(parents=True)
    (tmp_path / FORK).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    return tmp_path


@pytest.mark.slow
def test_a_run_writes_its_rows_as_json(tmp_path, capsys):
    file = tmp_path / "found.json"
    assert (
        main(["--size", "tiny", "--profile", "exact", "--repeats", "1", "--json", str(file)]) == 0
    )
    found = json.loads(file.read_text())
    assert (found["size"], found["steps"], found["tokens"], found["threads"]) == ("tiny", 2, 36, 1)
    (row,) = found["rows"]
    assert (row["system"], row["dtype"], row["relative_error"]) == ("exact", "float32", 0)
    assert row["seconds"] == pytest.approx(sum(row["stages"].values()))
    assert set(row["stages"]) == {"encode", "denoise", "decode"}
    assert row["peak_memory_bytes"] > 1e8
    assert row["predicted"]["peak_memory_bytes"] > 1e8
    assert row["torch"] == torch.__version__
    assert 0 < row["ceiling_share"] < 1
    assert "exact" in capsys.readouterr().out


@pytest.mark.slow
def test_of_several_videos_at_once_nothing_is_predicted(tmp_path):
    one = Plan(SIZES["tiny"], [], ["float32"], 2, 1, 1, "cpu")
    write_checkpoint(one.size, tmp_path / "model")
    ceilings = {"float32": 1e11}
    assert set(predict_runs(one, tmp_path / "model", ceilings)) == {"float32"}
    two = replace(one, batch=2, systems=[profile_system("exact", {})])
    assert predict_runs(two, tmp_path / "model", ceilings) == {}
    stages = dict.fromkeys(("encode", "denoise", "decode"), 1.0)
    row = Row("exact", "float32", 3.0, (3.0, 3.0), stages, stages, 1, 0.0, (3.0,), "2.13", 0.1)
    report = Report(two, [row], ceilings, {})
    assert report.as_dict()["rows"][0]["predicted"] is None
    assert "predicted" not in list(report.table().columns[0].cells)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--size", "tiny", "--profile", "exact", "swift"],
            "no profile 'swift'. Use one of:",
        ),
        (["--size", "wan-14b", "--device", "cpu"], "--dry-run"),
        (["--size", "tiny", "--repeats", "0"], "at least 1"),
        (["--size", "tiny", "--option", "compile"], "NAME=VALUE"),
        (["--size", "tiny", "--peer", "nowhere"], "no checkout of the released repository"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(arguments, said, capsys):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_tells_the_plan_and_the_floor(capsys):
    assert main(["--size", "wan-14b", "--device", "cpu", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "20,280 tokens" in said
    assert "50 steps" in said
    assert "at least 154 s" in said


def test_a_peer_without_an_interpreter_is_told_how_to_make_one(checkout):
    with pytest.raises(FileNotFoundError, match=r"python -m venv .*transformers==4"):
        peer_system(checkout)


def test_a_peer_whose_environment_lacks_modules_is_told_which(checkout):
    interpreter(checkout, f'exec {sys.executable} -S -I "$@"')
    with pytest.raises(ValueError, match="lacks: torch, transformers"):
        peer_system(checkout)


def test_a_peer_with_too_new_a_library_is_told_the_version(checkout):
    interpreter(checkout, """echo '{"missing": [], "transformers": "5.1.0"}'""")
    with pytest.raises(ValueError, match=r"has transformers 5.1.0.*Install transformers==4"):
        peer_system(checkout)


def test_an_interpreter_that_does_not_run_is_named(checkout):
    interpreter(checkout, "echo out of order >&2; exit 3")
    with pytest.raises(ValueError, match="out of order"):
        peer_system(checkout)


def test_a_peer_runs_its_fork_in_its_own_environment(checkout):
    interpreter(checkout, """echo '{"missing": [], "transformers": "4.57.6"}'""")
    system = peer_system(checkout)
    assert system.name == "peer"
    assert system.command[0] == str(checkout / ".venv" / "bin" / "python")
    assert system.environment["PYTHONPATH"].endswith(str(checkout / "diffusers" / "src"))


def interpreter(checkout, script):
    """Stand in for the environment's Python."""
    file = checkout / ".venv" / "bin" / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
