"""``vap eval``: its options reach the evaluation, and its results the user."""

import json

import pytest

from tests.cli.running import refusal, vap, vap_json


@pytest.mark.slow
def test_scores_are_printed_and_written(here):
    options = ("--cases", 2, "--steps", 1, "--condition", "sepia", "--system", "vap")
    result = vap("eval", "mini", "-o", "run", *options)
    found = vap_json("eval", "mini", "-o", "run", "--resume", *options)
    rows = found["rows"]
    assert [(row["system"], row["split"]) for row in rows] == [
        (system, "seen") for system in ("static", "vap", "vae")
    ]
    assert json.loads((here / "run/results.json").read_text())["rows"] == rows
    printed = result.stdout.split()
    assert f"{rows[1]['gap_closed']:.2f}".replace("-", "−") in printed
    again = vap("eval", "mini", "-o", "run", "--resume", *options)
    assert again.stdout == result.stdout


def test_wrong_choices_are_named_before_a_model_is_loaded(here):
    assert "sora" in refusal("eval", "mini", "--system", "sora")
    assert "sepai" in refusal("eval", "mini", "--condition", "sepai")
    assert "at least 2" in refusal("eval", "story", "--condition", "sepia")
    assert "lora/" in refusal("eval", "mini", "--system", "lora")
    assert "nowhere" in refusal("eval", "mini", "--systems-from", "nowhere")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["mini", "story"])
def test_no_steps_are_refused(here, command):
    assert "--steps" in vap("eval", command, "--steps", 0, code=2).stderr
    assert list(here.iterdir()) == []
