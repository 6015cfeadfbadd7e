"""``vap eval``: its options reach the evaluation, and its results the user."""

import json

import pytest

from tests.cli.running import refusal, vap, vap_json


@pytest.mark.slow
def test_scores_are_printed_and_written(here):
    options = ("--cases", 2, "--steps", 1, "--condition", "sepia", "--system", "vap")
    result = vap("eval", "mini", "-o", "run", *options)
    found = vap_json("eval", "mini", "-o", "run", *options)
    assert {row["system"] for row in found["numbers"]} == {"static", "vap", "vae"}
    assert json.loads((here / "run/results.json").read_text())["numbers"] == found["numbers"]
    assert "gap closed" in (here / "run/table.md").read_text()
    assert vap("eval", "report", "run", "--baseline", "vap").stdout == result.stdout


def test_systems_are_compared_on_a_benchmark(here):
    options = ("--systems", "truth", "--cases", 1, "--condition", "sepia")
    found = vap_json("eval", "run", *options, "--metrics", "recognized,first-frame", "-o", "run")
    values = {(row["system"], row["metric"]): row["value"] for row in found["numbers"]}
    assert values == {("truth", "recognized"): 100, ("truth", "first-frame"): 60}
    assert vap_json("eval", "report", "run")["numbers"] == found["numbers"]


def test_systems_and_metrics_are_listed(here):
    assert "vap-mini" in vap("eval", "systems").stdout
    assert "first-frame" in vap("eval", "metrics").stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--systems", "vap-mimi"), "'vap-mini'"),
        (("--systems", "static", "--metrics", "gpa"), "'gap'"),
        (("--systems", "static", "--benchmark", "sinth"), "'synth'"),
        (("--systems", "static", "--baseline", "statc"), "'static'"),
        (("--systems", "broken.yaml"), "num_inference_steps=0"),
        (("--systems", "static", "--seeds", "one"), "one"),
        (("--systems", "static", "--seeds", "0,-1"), "-1"),
        (("--systems", ","), "','"),
    ],
)
def test_bad_names_are_answered_with_the_nearest(options, named, here):
    (here / "broken.yaml").write_text("kind: vap\nnum_inference_steps: 0\n")
    assert named in refusal("eval", "run", "-o", "run", *options)
    assert [path.name for path in here.iterdir()] == ["broken.yaml"]


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
