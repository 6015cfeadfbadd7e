"""The fastest kernel is measured once on a machine; what does not run there is never called."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from tests.pipelines.golden import relative_error
from vap.acceleration import kernels
from vap.acceleration.kernels import (
    FLOAT32,
    ONEDNN,
    SIGMOID,
    TORCH,
    Kernels,
    convolution,
    fastest_kernels,
    float32_attention,
    linear,
    linear_gelu,
)
from vap.devices import has_fast_half

HALF = torch.bfloat16


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine on which nothing was measured yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernels, "_chosen", {})
    return tmp_path / "video-as-prompt"


class Clock:
    """Kernels that take as long as they are told; no one waits."""

    def __init__(self, monkeypatch):
        self.now, self.calls = 0.0, []
        for name in ("thread_time", "perf_counter"):
            monkeypatch.setattr(kernels.time, name, lambda: self.now)

    def race(self, dtype=torch.float32, **seconds):
        def kernel(name):
            def call(_tokens):
                self.calls.append(name)
                if seconds[name] == math.inf:
                    raise RuntimeError("could not create a primitive descriptor")
                self.now += seconds[name]

            return call

        contenders = {name: kernel(name) for name in seconds}
        return kernels._race(contenders, (torch.zeros(1, dtype=dtype),))


@pytest.mark.parametrize(
    ("seconds", "fastest"),
    [
        ({TORCH: 1.0, ONEDNN: 0.5, FLOAT32: 0.1}, ONEDNN),  # which are float32 already
        ({TORCH: 1.0, ONEDNN: 0.99, FLOAT32: 9.0}, TORCH),
        ({TORCH: 1.0, ONEDNN: 2.0, FLOAT32: 9.0}, TORCH),
        ({TORCH: 1.0, ONEDNN: math.inf, FLOAT32: 9.0}, TORCH),
    ],
)
def test_another_kernel_is_taken_only_where_it_runs_and_is_clearly_faster(
    seconds, fastest, monkeypatch
):
    assert Clock(monkeypatch).race(**seconds) == fastest


def test_a_kernel_that_is_far_slower_is_not_timed_again(monkeypatch):
    clock = Clock(monkeypatch)
    assert clock.race(HALF, torch=60.0, onednn=math.inf, float32=1.0) == FLOAT32
    assert (clock.calls.count(TORCH), clock.calls.count(ONEDNN)) == (2, 1)


def test_what_was_measured_is_kept_for_the_next_process(home, monkeypatch):
    measured = Kernels(TORCH, ONEDNN, ONEDNN, TORCH)
    monkeypatch.setattr(kernels, "_measure", lambda _: measured)
    assert fastest_kernels(torch.float32) == measured
    (file,) = home.iterdir()
    assert json.loads(file.read_text())["machine"]["torch"] == torch.__version__
    monkeypatch.setattr(kernels, "_measure", lambda _: pytest.fail("it is known"))
    monkeypatch.setattr(kernels, "_chosen", {})
    assert fastest_kernels(torch.float32) == measured


def test_processes_that_begin_at_once_take_what_the_first_one_kept(home, monkeypatch):
    def meanwhile(dtype):
        monkeypatch.setattr(kernels, "_measure", lambda _: Kernels(linear=ONEDNN))
        monkeypatch.setattr(kernels, "_chosen", {})
        fastest_kernels(dtype)
        return Kernels()

    monkeypatch.setattr(kernels, "_measure", meanwhile)
    assert fastest_kernels(torch.float32) == Kernels(linear=ONEDNN)


@pytest.mark.parametrize("setting", ["ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"])
def test_other_settings_are_another_machine(setting, home, monkeypatch):
    monkeypatch.setattr(kernels, "_measure", lambda _: Kernels())
    fastest_kernels(torch.float32)
    monkeypatch.setenv(setting, "something")
    monkeypatch.setattr(kernels, "_chosen", {})
    fastest_kernels(torch.float32)
    assert len(list(home.iterdir())) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"linear": "fast"}', '{"linear": ["torch"]}'])
def test_a_damaged_file_is_measured_again(content, home, monkeypatch):
    measured = Kernels(linear=ONEDNN)
    monkeypatch.setattr(kernels, "_measure", lambda _: measured)
    fastest_kernels(torch.float32)
    (file,) = home.iterdir()
    file.write_text(content)
    monkeypatch.setattr(kernels, "_chosen", {})
    assert fastest_kernels(torch.float32) == measured
    assert json.loads(file.read_text())["linear"] == ONEDNN


def test_a_cache_that_cannot_be_written_hinders_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(kernels, "_chosen", {})
    monkeypatch.setattr(kernels, "_measure", lambda _: Kernels(linear=ONEDNN))
    assert fastest_kernels(torch.float32).linear == ONEDNN


def test_onednn_is_never_called_in_bfloat16_where_the_processor_has_none(home):
    chosen = fastest_kernels(HALF)
    if not has_fast_half(torch.device("cpu")):
        assert {chosen.linear, chosen.linear_gelu, chosen.convolution} == {FLOAT32}
        assert chosen.attention != ONEDNN


@pytest.mark.parametrize("name", [TORCH, ONEDNN, FLOAT32])
@pytest.mark.parametrize("dtype", [torch.float32, HALF])
def test_all_kernels_compute_the_same(name, dtype, monkeypatch):
    if name == ONEDNN and dtype == HALF and not has_fast_half(torch.device("cpu")):
        pytest.skip("no bfloat16 here")
    monkeypatch.setattr(kernels, "_chosen", {dtype: Kernels(name, name, name, name)})
    rows, weight, bias = (torch.randn(shape).to(dtype) for shape in ((5, 8), (6, 8), (6,)))
    volume, cube = (torch.randn(1, 2, 3, 4, 4).to(dtype), torch.randn(4, 2, 2, 3, 3).to(dtype))
    sizes = (1, 1, 1), (0, 1, 1), (1, 1, 1), 1
    found = (
        linear(rows, weight, bias),
        linear_gelu(rows, weight, bias, "tanh"),
        convolution(volume, cube, None, *sizes),
        float32_attention(*(rows[None, :, None],) * 3),
    )
    rows, weight, bias, volume, cube = (x.double() for x in (rows, weight, bias, volume, cube))
    expected = (
        F.linear(rows, weight, bias),
        F.gelu(F.linear(rows, weight, bias), approximate="tanh"),
        F.conv3d(volume, cube, None, *sizes),
        F.scaled_dot_product_attention(*(rows[None, None],) * 3).transpose(1, 2),
    )
    tolerance = 1e-6 if dtype == torch.float32 else 8e-3
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        assert relative_error(one.double(), other) < tolerance


@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_a_gelu_by_the_sigmoid_is_the_gelu(approximate, monkeypatch):
    monkeypatch.setattr(kernels, "_chosen", {torch.float32: Kernels(linear_gelu=SIGMOID)})
    rows, weight, bias = torch.randn(2, 70, 8), 3 * torch.randn(6, 8), torch.randn(6)
    found = linear_gelu(rows, weight, bias, approximate)
    wide = F.linear(rows.double(), weight.double(), bias.double())
    assert relative_error(found.double(), F.gelu(wide, approximate=approximate)) < 1e-6
