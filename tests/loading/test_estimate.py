import pytest

from vap.acceleration.plan import WantedVideo
from vap.cost import devices
from vap.cost.devices import known_gpu
from vap.loading import estimate as estimates
from vap.loading.estimate import Work, estimate


@pytest.fixture(autouse=True)
def an_h200(monkeypatch):
    """A device that need not be measured."""
    monkeypatch.setattr(estimates, "_measured", lambda _: known_gpu("h200"))
    monkeypatch.setattr(estimates, "host_memory", lambda: (256 << 30, 256 << 30))
    estimate.cache_clear()
    yield
    estimate.cache_clear()


def test_a_released_model_needs_no_download():
    found = estimate(Work("wan"))
    assert found.fits
    assert 30e9 < found.memory_bytes < found.memory_available_bytes == known_gpu("h200").memory
    assert estimate(Work("somebody/else")) is None


def test_more_work_takes_longer():
    least = estimate(Work("wan", steps=10)).seconds
    assert least < estimate(Work("wan", steps=20)).seconds
    assert least < estimate(Work("wan", steps=10, reference_guidance=True)).seconds
    assert least < estimate(Work("wan", steps=10, check_reference=True)).seconds
    assert estimate(Work("wan", profile="turbo")).seconds < estimate(Work("wan")).seconds


def test_less_memory_takes_a_plan_that_offloads_or_does_not_fit():
    small = estimate(Work("wan"), memory="24GB")
    assert small.fits
    assert small.memory_bytes < 24e9 == small.memory_available_bytes
    none = estimate(Work("wan"), memory="1GB")
    assert not none.fits
    assert none.memory_bytes > 1e9


def test_a_cpu_loads_the_whole_model_unless_its_memory_is_limited(monkeypatch):
    import torch

    monkeypatch.setattr(
        estimates, "_measured", lambda _: devices.device_for_planning(torch.device("cpu"))
    )
    whole = estimate(Work("vap-mini", WantedVideo()), device="cpu")
    limited = estimate(Work("vap-mini"), device="cpu", memory="800MB")
    assert whole.fits
    assert limited.memory_bytes <= whole.memory_bytes
    assert limited.memory_available_bytes == 800e6
