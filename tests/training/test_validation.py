import json
import shutil
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from tests.data.encoding import SIZES, job_of, written_rows
from tests.training.tuning_tiny import metrics_of, recipe_of
from vap.acceleration.student import use_student
from vap.data.encode import run_job
from vap.data.encoded import MANIFEST
from vap.data.table import Table, write_table
from vap.loading.pipeline import load_pipeline, load_transformer
from vap.media import read_clip
from vap.pipelines.denoise import NOTHING, Reuse
from vap.training.parallel import Layout
from vap.training.stages import run_recipe


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Written clips with one of the test split, and their encodings."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("clips")
    rows = written_rows(folder)
    rows[-1] = replace(rows[-1], split="test")
    write_table(Table(tuple(rows)), folder / "table.csv")
    encoded = {}
    for variant in SIZES:
        job = job_of(rows, folder, folder / variant, variant)
        run_job(job)
        encoded[variant] = job.output
    return folder, encoded


def recipe(clips, output, variant, **changes):
    folder, encoded = clips
    place = changes.pop("encoded", str(encoded[variant]))
    data = {"table": str(folder / "table.csv"), "encoded": place}
    validation = {"every": 2, "root": str(folder), "cases": 1, "inference_steps": 2}
    return recipe_of(
        encoded[variant],
        output,
        variant,
        data=data,
        validation={**validation, **changes.pop("validation", {})},
        **changes,
    )


@pytest.mark.parametrize("variant", SIZES)
def test_videos_of_an_unseen_split_are_written_with_metrics(variant, clips, tmp_path) -> None:
    run_recipe(recipe(clips, tmp_path, variant, loop={"steps": 4, "batch_size": 1}))
    size = SIZES[variant]
    for step in (2, 4):
        folder = tmp_path / "validation" / f"step-{step:06d}"
        video = read_clip(folder / "00.mp4")
        assert video.frames.shape == (size.frames, size.height, size.width, 3)
        assert (folder / "00.png").is_file()
    scored = [line for line in metrics_of(tmp_path) if "validation_psnr" in line]
    assert [line["step"] for line in scored] == [2, 4]
    assert all(np.isfinite(line["validation_psnr"]) for line in scored)


def test_generating_changes_nothing_of_the_training(clips, tmp_path) -> None:
    losses = []
    for every in (0, 1):
        output = tmp_path / str(every)
        run_recipe(recipe(clips, output, "wan", validation={"every": every}))
        losses.append([line["loss"] for line in metrics_of(output) if "loss" in line])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"validation": {"split": "none"}}, r"validation\.split"),
        ({"validation": {"root": "/nowhere"}}, r"is not in /nowhere.*validation\.root"),
        ({"run": {"trackers": ["comet_ml"]}}, "'comet_ml' is not installed"),
    ],
)
def test_what_would_end_the_run_later_is_refused_before_a_model_is_loaded(
    changes, said, clips, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("vap.training.tuning.build_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises((ValueError, OSError, ImportError), match=said):
        run_recipe(recipe(clips, tmp_path, "wan", **changes))


def test_a_model_that_is_spread_is_refused_before_it_trains(clips, tmp_path) -> None:
    layout = Layout(shards=2, sharded=True)
    with (
        patch("vap.training.trainer.layout_of", return_value=layout),
        pytest.raises(ValueError, match=r"validation\.every to 0"),
    ):
        run_recipe(recipe(clips, tmp_path, "wan"))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_manifest_without_sizes_is_named(clips, tmp_path) -> None:
    folder = tmp_path / "encoded"
    shutil.copytree(clips[1]["wan"], folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["sizes"]
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=rf"{MANIFEST}.*'sizes'"):
        run_recipe(recipe(clips, tmp_path / "run", "wan", encoded=str(folder)))


@pytest.fixture
def generated(monkeypatch):
    """Arguments and frames of what validation generates."""
    calls = []

    def load(*arguments, **options):
        pipeline = load_pipeline(*arguments, **options)

        class Watched(type(pipeline)):
            def __call__(self, *given, **named):
                made = super().__call__(*given, **named)
                calls.append((given, named, made.frames))
                return made

        pipeline.__class__ = Watched
        return pipeline

    monkeypatch.setattr("vap.training.validation.load_pipeline", load)
    return calls


def test_of_a_distilled_student_the_student_is_shown(clips, tmp_path, generated) -> None:
    changes = {
        "stage": "distill",
        "objective": "path",
        "steps": 3,
        "substeps": 1,
        "references_every": 2,
        "model": {"lora_rank": 2},
        "loop": {"steps": 1, "batch_size": 1},
        "validation": {"every": 1},
    }
    distilled = recipe(clips, tmp_path, "cogvideox", **changes)
    run_recipe(distilled)
    ((given, named, frames),) = generated
    student = use_student(load_pipeline(distilled.model.start, device="cpu"), tmp_path, steps=3)
    student.set_progress_bar_config(disable=True)
    student.reuse = Reuse(references=2)
    sampling = ("num_inference_steps", "guidance_scale", "reference_guidance_scale")
    others = {name: value for name, value in named.items() if name not in sampling}
    others["generator"] = torch.Generator().manual_seed(distilled.validation.seed)
    expected = student(*given, **others, num_inference_steps=3).frames
    np.testing.assert_allclose(frames, expected, atol=1e-4)
    student.reuse = NOTHING
    others["generator"].manual_seed(distilled.validation.seed)
    other = student(*given, **others, num_inference_steps=3).frames
    assert np.abs(frames - other).max() > 1e-3  # what differs does show


def test_averaged_weights_are_shown_where_they_are_written(clips, tmp_path, generated) -> None:
    frames = {}
    for ema in (0.0, 0.9999):
        generated.clear()
        output = tmp_path / str(ema)
        averaging = {"ema": ema, "learning_rate": 0.05}
        loop = {"steps": 2, "batch_size": 1}
        run = recipe(clips, output, "cogvideox", optimizer=averaging, loop=loop)
        run_recipe(run)
        ((given, named, frames[ema]),) = generated
    written = load_transformer(run.model.start, dtype=torch.float32)
    written.load_expert(output / "expert.safetensors")
    pipeline = load_pipeline(run.model.start, device="cpu", transformer=written)
    pipeline.set_progress_bar_config(disable=True)
    again = {**named, "generator": torch.Generator().manual_seed(run.validation.seed)}
    expected = pipeline(*given, **again).frames
    np.testing.assert_allclose(frames[0.9999], expected, atol=1e-4)
    assert np.abs(frames[0.0] - expected).max() > 1e-3


def test_videos_play_at_the_rate_that_their_clips_were_encoded_at(clips, tmp_path) -> None:
    folder = tmp_path / "encoded"
    shutil.copytree(clips[1]["wan"], folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "fps": 8.0}))
    loop = {"steps": 2, "batch_size": 1}
    run_recipe(recipe(clips, tmp_path, "wan", loop=loop, encoded=str(folder)))
    assert read_clip(tmp_path / "validation" / "step-000002" / "00.mp4").fps == 8
