"""A pipeline is written whole or not at all."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig

import vap
from tests.pipelines.golden import Golden, load
from vap.acceleration.plan import CPU_PLANS
from vap.acceleration.text_encoder import is_unloaded
from vap.loading import memory


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_weights_in_eight_bits_are_refused_before_anything_is_written(
    case: Golden, tmp_path: Path, precision: str
) -> None:
    pipeline = load(case.family, quantize=precision)
    with pytest.raises(ValueError, match=r"quantized\. Load the model without quantize"):
        pipeline.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_adapters_are_refused_until_they_are_merged(case: Golden, tmp_path: Path) -> None:
    pipeline = load(case.family)
    pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), "mine")
    with pytest.raises(ValueError, match="has adapters"):
        pipeline.save_pretrained(tmp_path)
    pipeline.fuse_lora(components=["transformer"])
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(tmp_path)
    assert (tmp_path / "model_index.json").is_file()


def test_a_text_encoder_that_waits_in_its_file_is_written_whole(
    case: Golden, monkeypatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "planned", lambda *_, **__: CPU_PLANS[1])
    pipeline = load(case.family, memory="10GB")
    case.run(case.prompted(), pipeline)
    assert is_unloaded(pipeline.text_encoder)
    pipeline.save_pretrained(tmp_path)
    again = vap.load_pipeline(tmp_path, device="cpu")
    again.set_progress_bar_config(disable=True)
    assert torch.equal(case.run(case.prompted(), again), case.run(case.prompted()))


def test_the_state_of_a_text_encoder_that_waits_is_what_it_reads(case: Golden, monkeypatch) -> None:
    monkeypatch.setattr(memory, "planned", lambda *_, **__: CPU_PLANS[1])
    state = load(case.family, memory="10GB").text_encoder.state_dict()
    for name, tensor in case.pipeline.text_encoder.state_dict().items():
        assert torch.equal(state[name], tensor)
