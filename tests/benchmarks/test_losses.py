import json

import pytest
from benchmarks.losses import losses, main


def run(folder, values):
    folder.mkdir()
    rows = [{"loss": loss, "step": 10 * (place + 1)} for place, loss in enumerate(values)]
    text = "".join(f"{json.dumps(row)}\n" for row in [*rows, {"step": 5, "psnr": 20.0}])
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_losses_are_means_of_windows_in_the_order_of_steps(tmp_path):
    found = losses(run(tmp_path / "a", [1.0, 3.0] * 20))

    assert found == [(20 * (place + 1), 2.0) for place in range(20)]


def test_a_short_run_is_drawn_step_by_step(tmp_path):
    assert losses(run(tmp_path / "a", [0.5, 0.25])) == [(10, 0.5), (20, 0.25)]


def test_every_run_is_a_line_of_its_plot(tmp_path):
    first, second = (run(tmp_path / name, [0.5, 0.25]) for name in ("3d", "3e"))
    plot = tmp_path / "losses.svg"

    assert main(["--plot", str(plot), f"backbone={first},{second}"]) == 0

    drawn = plot.read_text()
    assert all(f">{name}<" in drawn for name in ("backbone", "3d", "3e"))


@pytest.mark.parametrize("given", ["backbone", "backbone=nowhere", "backbone={empty}"])
def test_what_is_no_run_is_refused(given, tmp_path, capsys):
    empty = run(tmp_path / "empty", [])

    with pytest.raises(SystemExit) as refused:
        main(["--plot", str(tmp_path / "x.svg"), given.format(empty=empty)])

    assert refused.value.code == 2
    said = capsys.readouterr().err
    assert any(word in said for word in ("names no runs", "nowhere", "no loss"))
