"""What would load as another model is not written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from diffusers.quantizers.gguf.utils import GGUFParameter
from peft import LoraConfig
from predictions import predict
from torch import nn
from variants import VARIANTS, Variant

from vap.acceleration.quantize import quantize
from vap.training.methods.streams import couple_by_addition, couple_one_way

ADAPTER = LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False)


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.name)
def variant(request) -> Variant:
    return request.param


def eight_bits(model: Any) -> None:
    quantize(model.expert_blocks, "int8")


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        (eight_bits, r"quantized\. Load the model without quantize"),
        (lambda model: model.add_adapter(ADAPTER), r"it has adapters\. Call unload_lora_weights"),
        (lambda model: model.fuse_qkv_projections(), r"Call unfuse_qkv_projections"),
        (lambda model: cpu_offload(model, torch.device("cpu")), "without offload"),
        (couple_one_way, r"coupling is 'one-way'.*load_alternative"),
        (couple_by_addition, r"coupling is 'addition'.*load_alternative"),
    ],
    ids=["eight bits", "adapters", "fused", "offloaded", "one-way", "addition"],
)
def test_what_a_file_cannot_hold_is_refused_before_anything_is_written(
    variant: Variant, tmp_path: Path, change: Callable[[Any], None], advice: str
) -> None:
    model = variant.model()
    change(model)
    with pytest.raises(ValueError, match=advice):
        model.save_expert(tmp_path / "expert.safetensors")
    with pytest.raises(ValueError, match=advice):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_model_is_written_once_what_was_done_is_undone(variant: Variant, tmp_path: Path) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    expected = predict(model, arguments)
    model.add_adapter(ADAPTER)
    model.delete_adapters("default")
    model.unload_lora()
    model.fuse_qkv_projections()
    model.unfuse_qkv_projections()
    model.save_pretrained(tmp_path)
    again = variant.model_class.from_pretrained(tmp_path).eval()
    assert torch.equal(predict(again, arguments), expected)


@pytest.mark.parametrize("precision", ["int8", "fp8", "gguf"])
def test_nothing_is_merged_into_narrow_weights(variant: Variant, precision: Any) -> None:
    model = variant.model()
    if precision == "gguf":
        weight = torch.zeros(4, dtype=torch.uint8)
        model.proj_out.weight = GGUFParameter(weight, requires_grad=False, quant_type=8)
    else:
        quantize(model.expert_blocks, precision)
    model.add_adapter(ADAPTER)
    with pytest.raises(ValueError, match=r"cannot be merged.*unfused"):
        model.fuse_lora()


def test_plain_weights_take_what_is_merged(variant: Variant) -> None:
    model = variant.model()
    weight = next(m for n, m in model.named_modules() if n.endswith("attn1.to_q")).weight
    assert type(weight) is nn.Parameter
    before = weight.clone()
    model.add_adapter(ADAPTER)
    model.fuse_lora()
    assert not torch.equal(weight, before)
