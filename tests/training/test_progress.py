import io

import pytest
from rich.console import Console

from tests.training.tuning_tiny import recipe_of
from vap.training.progress import RunProgress
from vap.training.stages import run_recipe


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
