import io
import json

import pytest
from rich.console import Console

from tests.training.tuning_tiny import recipe_of
from vap.training.stages import run_recipe
from vap.training.tracking import RunProgress, check_trackers, metrics_of_run
from vap.training.tuning_config import RunConfig


def steps(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_a_continued_run_forgets_what_came_after_its_checkpoint(tmp_path) -> None:
    with metrics_of_run(tmp_path, RunConfig(), first=0, rank=0) as write:
        for step in (1, 2, 3):
            write(step, {"loss": 0.5})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("[" * 100_000 + '\n{"loss": 0.5, "st')
    with metrics_of_run(tmp_path, RunConfig(), first=2, rank=0) as write:
        write(3, {"loss": 0.25})
    assert steps(tmp_path) == [1, 2, 3]


def test_only_the_first_process_writes(tmp_path) -> None:
    with metrics_of_run(tmp_path, RunConfig(), first=0, rank=1) as write:
        write(1, {"loss": 0.5})
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_tracker_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"'tensorbored' is unknown.*tensorboard"):
        check_trackers(("tensorbored",))


def test_a_tracker_that_is_not_installed_is_named() -> None:
    with pytest.raises(ImportError, match="'comet_ml' is not installed"):
        check_trackers(("comet_ml",))


def test_a_log_gets_lines_with_step_loss_rate_and_time(datasets, tmp_path, caplog):
    caplog.set_level("INFO")
    loop = {"steps": 4, "log_every": 2}
    run_recipe(recipe_of(datasets["wan"], tmp_path, "wan", loop=loop))
    lines = [line for line in caplog.messages if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 2 of 4", "step 4 of 4"]
    for line in lines:
        assert "loss " in line
        assert "rate 0.001, " in line
        assert line.endswith("remaining")
        assert "elapsed" in line


@pytest.mark.parametrize("shown", [True, False])
def test_a_terminal_gets_a_bar_and_no_lines(caplog, shown):
    caplog.set_level("INFO")
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    with RunProgress(2, 8, shown=shown, console=terminal) as progress:
        progress.step(5, 0.25, 1e-5)
        progress.line(5, 0.25, 1e-5)
    drawn = terminal.file.getvalue()
    assert ("loss 0.25, rate 1e-05" in drawn) == shown
    assert ("5/8" in drawn) == shown
    assert caplog.messages == []
