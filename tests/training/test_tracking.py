import json

import pytest

from vap.training.tracking import Metrics
from vap.training.tuning_config import RunConfig


def steps(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_continued_run_forgets_what_came_after_its_checkpoint(tmp_path) -> None:
    with Metrics(tmp_path, RunConfig(), first=0, rank=0) as log:
        for step in (1, 2, 3):
            log.write(step, {"loss": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("[" * 100_000 + '\n{"loss": 0.5, "st')
    with Metrics(tmp_path, RunConfig(), first=2, rank=0) as log:
        log.write(3, {"loss": 0.25})
    assert steps(tmp_path) == [1, 2, 3]


def test_only_the_first_process_writes(tmp_path) -> None:
    with Metrics(tmp_path, RunConfig(), first=0, rank=1) as log:
        log.write(1, {"loss": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_refused_with_those_there_are(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"'tensorbored' is unknown.*tensorboard"):
        Metrics(tmp_path, RunConfig(trackers=("tensorbored",)), first=0, rank=0)


def test_a_tracker_that_is_not_installed_is_named(tmp_path) -> None:
    with pytest.raises(ImportError, match="'comet_ml' is not installed"):
        Metrics(tmp_path, RunConfig(trackers=("comet_ml",)), first=0, rank=0)
