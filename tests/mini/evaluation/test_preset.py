"""``vap eval mini`` is the runner with systems of its own."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from tests.mini.evaluation.conftest import CONDITIONS
from tests.pipelines.golden import FOLDER
from vap.evaluation.metrics.registry import METRICS
from vap.evaluation.report.sheets import write_sheets
from vap.evaluation.report.summary import summarize
from vap.evaluation.run import run
from vap.evaluation.run_folder import read_run_folder
from vap.evaluation.systems.registry import SYSTEMS
from vap.mini.evaluation.preset import (
    BOUNDS,
    TITLES,
    TRAINED,
    Preset,
    mini_evaluation,
    mini_systems,
)
from vap.mini.evaluation.trained import KINDS


@pytest.fixture
def preset(tiny):
    return Preset(str(tiny), systems=("vap",), cases=3, conditions=CONDITIONS, seed=3)


def test_a_run_is_scored_and_shown(preset, tmp_path):
    summary = run(mini_evaluation(preset, tmp_path), tmp_path)
    assert (summary.videos, summary.failed_videos, summary.scores) == (9, 0, 27)
    found = read_run_folder(tmp_path, SYSTEMS.extended(KINDS), METRICS)
    gaps = {
        number.system: number.value
        for number in summarize(found).numbers
        if number.metric == "gap" and number.group is None
    }
    assert gaps["static"] == 0
    assert gaps.keys() == {"static", "vap", "vae"}
    sheets = {path.name for path in write_sheets(found, "vap", tmp_path)}
    splits = ("seen", "heldout", "unknown")
    assert sheets == {f"{split}{kind}.png" for split in splits for kind in ("", "-systems")}


def test_the_bounds_are_always_there(preset):
    assert [system.name for system in mini_systems(preset)] == ["static", "vap", "vae"]


def test_systems_without_weights_are_left_out_and_named(preset, tmp_path):
    (tmp_path / "residual").mkdir()
    every = replace(preset, systems=(), systems_from=tmp_path)
    assert set(every.missing()) == set(TRAINED) - {"residual"}
    assert {system.name for system in mini_systems(every)} == {*TITLES} - {*every.missing()}


def test_what_was_asked_for_by_name_is_not_left_out(preset, tmp_path):
    for folder in (tmp_path, None):
        with pytest.raises(FileNotFoundError, match=r"no weights for lora.*holds lora/"):
            mini_systems(replace(preset, systems=("lora",), systems_from=folder))


def test_a_lora_covers_its_conditions(preset, tmp_path):
    (tmp_path / "lora" / "sepia").mkdir(parents=True)
    save_file({}, tmp_path / "lora" / "sepia" / "pytorch_lora_weights.safetensors")
    asked = replace(preset, systems=("lora",), systems_from=tmp_path)
    evaluation = mini_evaluation(asked, tmp_path / "out")
    lora = next(system for system in evaluation.systems if system.name == "lora")
    assert [lora.covers(case) for case in evaluation.benchmark.cases] == [True, False, False]


@pytest.mark.parametrize("name", sorted({*TITLES} - {*TRAINED} - {*BOUNDS, "truth"}))
def test_folders_of_systems_without_weights_of_their_own_do_not_count(name, preset, tmp_path):
    (tmp_path / name).mkdir()
    save_file({"weight": torch.zeros(1)}, tmp_path / name / "expert.safetensors")
    first, second = (
        next(s for s in mini_systems(replace(preset, systems_from=folder, systems=(name,)))
             if s.name == name)
        for folder in (None, tmp_path)
    )  # fmt: skip
    assert first.identity() == second.identity()


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        ({"systems": ("vpa",)}, ValueError, "'vap'"),
        ({"conditions": ("sepai",)}, ValueError, "'sepia'"),
        ({"cases": 0}, ValueError, "cases=0"),
        ({"model": str(FOLDER / "cogvideox")}, ValueError, "takes Wan ones"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused(change, error, named, preset, tmp_path):
    with pytest.raises(error, match=named):
        mini_evaluation(replace(preset, **change), tmp_path)


def test_a_folder_of_systems_that_is_not_there_is_refused(preset, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*single_branch"):
        mini_systems(replace(preset, systems_from=tmp_path / "nowhere"))
