"""What is chosen for a device that is not here."""

import pytest
import torch

from vap.loading import pipeline as loading


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 6), None)]
)
def test_gpus_that_only_emulate_bfloat16_compute_in_float16(capability, dtype, monkeypatch):
    class Properties:
        major, minor = capability

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    monkeypatch.setattr(torch.cuda.device, "__enter__", lambda _: None)
    monkeypatch.setattr(torch.cuda.device, "__exit__", lambda *_: None)
    assert loading._precision(None, torch.device("cuda", 1), None) is (dtype or torch.bfloat16)
