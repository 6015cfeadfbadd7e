"""``vap data synth``: the list, written pairs, exit codes."""

import json

from typer.testing import CliRunner

from vap.cli.data_synth import app

TINY = ["--height", "32", "--width", "48", "--frames", "3"]


def run(*arguments):
    return CliRunner().invoke(app, list(arguments))


def test_list_as_json_has_all_conditions_with_parameters():
    result = run("--list", "--json")
    assert result.exit_code == 0
    conditions = {row["name"]: row for row in json.loads(result.stdout)["conditions"]}
    assert len(conditions) == 100
    assert conditions["zoom_out"]["exposure"] == "heldout"
    assert conditions["jump"]["parameters"]["hops"] == {"options": ["1", "2", "3"]}


def test_list_as_text_counts_the_categories():
    result = run("--list")
    assert "100 conditions: 35 concept, 20 style, 25 motion, 20 camera" in result.stdout


def test_pairs_are_written(tmp_path):
    result = run("--count", "1", "--split", "unknown", "-o", str(tmp_path), "--json", *TINY)
    assert result.exit_code == 0
    assert json.loads(result.stdout)["pairs"] == 1
    assert len(list(tmp_path.rglob("*.mp4"))) == 2


def test_without_a_folder_nothing_happens_and_it_says_so():
    result = run("--count", "1")
    assert result.exit_code == 2
    assert "-o FOLDER" in result.stderr


def test_an_unknown_split_is_wrong_usage(tmp_path):
    assert run("--split", "test", "-o", str(tmp_path)).exit_code == 2
