import pytest
import torch

from vap.parallel import parallelize
from vap.parallel.session import own_device
from vap.process import is_first, launched


def test_torchrun_is_recognized_by_what_it_says(monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (launched(), is_first()) == (False, True)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not launched()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert (launched(), is_first()) == (True, False)


def test_each_process_has_the_accelerator_of_its_number(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cpu") == "cpu"
    assert own_device("cuda") == "cuda:3"
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    assert own_device() == "cuda:3"


def test_one_device_for_all_is_refused():
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        own_device("cuda:1")


def test_without_other_processes_there_is_nothing_to_share():
    with pytest.raises(RuntimeError, match="torchrun"):
        parallelize(object())
