import sys

import pytest
import torch
from benchmarks.gpu_checks import Check, Result, checks

from benchmarks import gpu_checks


def test_only_kernels_that_a_machine_may_lack_may_be_refused():
    required = {check.name for check in checks() if not check.optional}
    assert {"float32", "bfloat16", "attention _native_math", "offload group"} <= required
    assert not any("torchao" in name or "sage" in name for name in required)


@pytest.mark.parametrize(
    ("result", "optional", "code", "verdict"),
    [
        (Result(1e-5, 1, 1), False, 0, "ok"),
        (Result(0.5, 1, 1), True, 1, "OFF"),
        (Result(raised="ImportError: no [sage]"), True, 0, "refused: ImportError: no [sage]"),
        (Result(raised="RuntimeError: lost"), False, 1, "FAILED: RuntimeError: lost"),
    ],
)
def test_an_error_where_nothing_may_lack_is_a_failure(
    result, optional, code, verdict, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["gpu_checks", "--family", "wan"])
    monkeypatch.setattr(gpu_checks, "default_device", lambda: torch.device("cuda"))
    monkeypatch.setattr(gpu_checks, "checks", lambda: [Check("it", 1e-4, optional=optional)])
    monkeypatch.setattr(gpu_checks, "run", lambda *_: result)
    monkeypatch.setattr(gpu_checks, "run_late_copies", lambda _: Result(0, 1, 1))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert gpu_checks.main() == code
    assert verdict in capsys.readouterr().out


def test_the_clock_starts_when_the_warm_up_is_done(monkeypatch):
    happened = []

    def note(what, answer=None):
        return lambda *_, **__: (happened.append(what), answer)[1]

    latents = gpu_checks.load_file(gpu_checks.GOLDEN / "wan" / "expected.safetensors")
    made = latents["pipeline.out.latents"]
    monkeypatch.setattr(gpu_checks, "generate", note("generate", made))
    monkeypatch.setattr(gpu_checks.time, "perf_counter", note("clock", 0.0))
    for name in ("synchronize", "reset_peak_memory_stats", "max_memory_allocated"):
        monkeypatch.setattr(gpu_checks.torch.accelerator, name, note(name, 0))
    result = gpu_checks.run("wan", Check("float32", 1e-4), torch.device("cpu"))
    assert result.raised == ""
    told = [what for what in happened if what in {"generate", "synchronize", "clock"}]
    assert told == ["generate", "synchronize", "clock"] * 2
