"""The script that measures plans on a GPU runs as far as a CPU goes."""

import pytest
import torch

from benchmarks import memory_plans


def test_without_a_gpu_it_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["memory_plans"])
    monkeypatch.setattr(memory_plans, "default_device", lambda: torch.device("cpu"))
    assert memory_plans.main() == 2
    assert "No GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("plans", "shares"),
    [
        (["block-level offload", "resident"], ["2.00×", "1.00×"]),
        (["block-level offload"], ["–"]),
    ],
)
def test_times_are_held_against_the_resident_plan_wherever_it_comes(
    plans, shares, monkeypatch, capsys
) -> None:
    monkeypatch.setattr("sys.argv", ["memory_plans", "--plans", *plans])
    monkeypatch.setattr(memory_plans, "default_device", lambda: torch.device("cuda"))
    seconds = {"resident": 1.5, "block-level offload": 3.0}
    monkeypatch.setattr(memory_plans, "measured", lambda plan, *_: (seconds[plan.name], 1.0))
    monkeypatch.setattr(memory_plans, "counted", lambda _: 1.0)
    assert memory_plans.main() == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [row.split("│")[3].strip() for row in rows] == shares
