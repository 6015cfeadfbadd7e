"""The script that measures plans on a GPU runs as far as a CPU goes."""

import torch

from benchmarks import memory_plans


def test_without_a_gpu_it_says_so(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["memory_plans"])
    monkeypatch.setattr(memory_plans, "default_device", lambda: torch.device("cpu"))
    assert memory_plans.main() == 2
    assert "No GPU" in capsys.readouterr().err
