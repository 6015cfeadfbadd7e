from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from tests.data.encoding import SIZES, job_of, written_rows
from tests.training.tuning_tiny import metrics_of, recipe_of
from vap.data.encode import run_job
from vap.data.table import Table, write_table
from vap.media import read_clip
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
    data = {"table": str(folder / "table.csv"), "encoded": str(encoded[variant])}
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


def test_a_split_without_rows_is_refused_with_the_remedy(clips, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"validation\.split"):
        run_recipe(recipe(clips, tmp_path, "wan", validation={"split": "none"}))


def test_a_model_that_is_spread_is_refused_before_it_trains(clips, tmp_path) -> None:
    layout = Layout(data_processes=2, sharded=True)
    with (
        patch("vap.training.trainer.layout_of", return_value=layout),
        pytest.raises(ValueError, match=r"validation\.every to 0"),
    ):
        run_recipe(recipe(clips, tmp_path, "wan"))
    assert not (tmp_path / "metrics.jsonl").exists()
