import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.mini.evaluation.conftest import CONDITIONS
from tests.pipelines.golden import FOLDER
from vap.media import MediaError
from vap.mini.evaluation.evaluate_mini import Evaluation, evaluate
from vap.mini.evaluation.systems import Generated, Static


@pytest.fixture(scope="module")
def evaluation(tiny):
    return Evaluation(str(tiny), systems=("vap",), cases=6, conditions=CONDITIONS, seed=3)


def without_times(report):
    rows = report.as_json()["rows"]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def errors(folder):
    _, *lines = (folder / "cases.jsonl").read_text().splitlines()
    scores = map(json.loads, lines)
    return {f"{score['system']} {score['index']}": score["error"] for score in scores}


@pytest.fixture(scope="module")
def whole(evaluation, tmp_path_factory):
    """A finished run: its folder, its report and what it told of its progress."""
    folder, told = tmp_path_factory.mktemp("whole"), []
    report = evaluate(evaluation, folder, progress=lambda *counts: told.append(counts))
    return SimpleNamespace(folder=folder, report=report, told=told)


def test_an_evaluation_writes_its_results_and_sheets(whole):
    assert [row["pairs"] for row in whole.report.as_json()["rows"]] == [2] * 9
    assert {row.system for row in whole.report.rows} == {"static", "vap", "vae"}
    assert whole.told[-1] == (18, 18)
    splits = ("seen", "heldout", "unknown")
    sheets = {f"{split}{kind}.png" for split in splits for kind in ("", "-systems")}
    written = {path.name for path in whole.folder.iterdir()}
    assert written == {*sheets, "cases.jsonl", "results.json", "table.md", "strips"}
    assert json.loads((whole.folder / "results.json").read_text())["settings"]["seed"] == 3


@pytest.mark.slow
def test_an_interrupted_evaluation_goes_on_where_it_was(evaluation, whole, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Generated, "videos", fail)
        with pytest.raises(KeyboardInterrupt):
            evaluate(evaluation, tmp_path)
    done = []
    resumed = evaluate(
        evaluation, tmp_path, resume=True, progress=lambda count, _: done.append(count)
    )
    assert done == [12, 18]
    assert without_times(resumed) == without_times(whole.report)


@pytest.mark.slow
def test_systems_and_cases_are_added_to_what_is_there(evaluation, whole, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(whole.folder, folder)
    more, done = replace(evaluation, systems=("vap", "truth"), cases=7), []
    report = evaluate(more, folder, resume=True, progress=lambda count, _: done.append(count))
    assert done[-1] == 4 * 7
    assert done[0] > len(whole.report.rows)
    fewer = evaluate(evaluation, folder, resume=True)
    assert {row.system for row in report.rows} - {row.system for row in fewer.rows} == {"truth"}
    assert without_times(fewer) == without_times(whole.report)


def test_scores_of_other_weights_are_not_kept(evaluation, whole, tmp_path, tiny):
    folder, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(whole.folder, folder)
    shutil.copytree(tiny, other, symlinks=True)
    (other / "extra").mkdir()
    save_file({"new": torch.zeros(1)}, other / "extra" / "model.safetensors")
    done = []
    evaluate(
        replace(evaluation, model=str(other), systems=("static",), cases=3),
        folder,
        resume=True,
        progress=lambda count, _: done.append(count),
    )
    assert done == [3, 6]


def test_sheets_show_the_weights_that_the_table_is_of(evaluation, tmp_path, tiny):
    other, run = tmp_path / "other", tmp_path / "run"
    shutil.copytree(tiny, other, symlinks=True)
    (other / "vae").unlink()
    shutil.copytree(tiny / "vae", other / "vae")
    weights = other / "vae" / "diffusion_pytorch_model.safetensors"
    save_file({k: v * 1.5 for k, v in load_file(weights).items()}, weights)
    short = replace(evaluation, systems=("static",), cases=1, conditions=("sepia",))

    def sheet(model, resume=True):
        evaluate(replace(short, model=str(model)), run, resume=resume)
        return (run / "seen-systems.png").read_bytes()

    first, second = sheet(tiny, resume=False), sheet(other)
    assert first != second
    assert sheet(tiny) == first


def test_a_new_run_that_is_interrupted_leaves_no_results_of_the_earlier_one(
    evaluation, whole, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Static, "videos", fail)
    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(evaluation, seed=4), folder)
    assert (folder / "results.json").is_file()  # its scores are still there, too
    monkeypatch.undo()
    monkeypatch.setattr(Generated, "videos", fail)
    with pytest.raises(KeyboardInterrupt):
        evaluate(replace(evaluation, seed=4), folder)
    assert {path.name for path in folder.iterdir()} == {"cases.jsonl", "strips"}


def test_a_place_that_is_no_folder_is_refused_at_once(evaluation, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="not a folder"):
        evaluate(replace(evaluation, model="missing"), tmp_path / "file" / "run")


@pytest.mark.slow
def test_several_workers_come_to_the_same(evaluation, tmp_path):
    short = replace(evaluation, systems=("static",), cases=2, conditions=("sepia",))
    evaluate(short, tmp_path / "alone")
    evaluate(short, tmp_path / "together", workers=2)
    assert errors(tmp_path / "together") == pytest.approx(errors(tmp_path / "alone"), rel=1e-4)


def test_unknown_systems_and_no_workers_are_refused(evaluation, tmp_path):
    with pytest.raises(ValueError, match="sora"):
        evaluate(replace(evaluation, systems=("sora",)), tmp_path)
    with pytest.raises(ValueError, match="workers=0"):
        evaluate(evaluation, tmp_path, workers=0)


def test_scores_made_with_other_defaults_of_the_model_are_not_kept(
    evaluation, whole, tmp_path, tiny
):
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    index = json.loads((model / "model_index.json").read_text())
    defaults = {**(index["generation_defaults"] or {}), "reference_guidance_scale": 3.0}
    (model / "model_index.json").write_text(json.dumps(index | {"generation_defaults": defaults}))
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    with pytest.raises(ValueError, match="other settings"):
        evaluate(replace(evaluation, model=str(model)), folder, resume=True)


def test_results_say_with_what_settings_they_were_made(whole, tiny):
    index = json.loads((tiny / "model_index.json").read_text())
    settings = json.loads((whole.folder / "results.json").read_text())["settings"]
    assert settings["generation"] == index["generation_defaults"]


def test_a_model_of_the_other_variant_is_refused_and_earlier_scores_stay(
    evaluation, whole, tmp_path
):
    folder = tmp_path / "run"
    shutil.copytree(whole.folder, folder)
    before = (folder / "cases.jsonl").read_bytes()
    other = str(FOLDER / "cogvideox")
    with pytest.raises(ValueError, match="takes Wan ones"):
        evaluate(replace(evaluation, model=other), folder)
    assert (folder / "cases.jsonl").read_bytes() == before
