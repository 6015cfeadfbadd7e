import logging

import pytest
import torch

import vap
from tests.pipelines.golden import FOLDER
from vap import devices

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fresh_notes():
    devices.note_slow_half.cache_clear()


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_stays_the_users_choice_with_one_note_where_it_is_slow(able, monkeypatch, caplog):
    monkeypatch.setattr(devices, "has_fast_half", lambda _: able)
    with caplog.at_level(logging.WARNING, "vap.devices"):
        for _ in range(2):
            pipeline = vap.load_pipeline(FOLDER / "wan", dtype="bfloat16", device="cpu")
    assert pipeline.transformer.dtype == torch.bfloat16
    assert len(caplog.records) == (0 if able else 1)


def test_float32_needs_no_note(monkeypatch, caplog):
    monkeypatch.setattr(devices, "has_fast_half", lambda _: False)
    with caplog.at_level(logging.WARNING, "vap.devices"):
        vap.load_pipeline(FOLDER / "wan", device="cpu")
    assert caplog.records == []


def test_a_torch_without_onednn_has_no_fast_half(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert devices.has_fast_half(CPU) is False
    assert devices.has_fast_half(torch.device("cuda")) is True
