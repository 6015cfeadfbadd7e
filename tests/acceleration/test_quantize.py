"""Eight-bit weights: what they cost in accuracy and save in bytes."""

import pytest
import torch
from peft import LoraConfig
from torch import nn

from tests.pipelines.golden import load, relative_error
from vap.acceleration.quantize import EightBitLinear, quantizable_bytes, quantize


@pytest.mark.parametrize(("precision", "allowed"), [("int8", 0.01), ("fp8", 0.04)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0])
def test_a_layer_keeps_its_output_at_any_size_of_its_weights(
    precision: str, allowed: float, size: float
) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(64, 32, bias=False).requires_grad_(False), torch.randn(256, 64)
    linear.weight *= size * torch.logspace(-3, 0, 32)[:, None]
    expected = linear(x)
    block = nn.Sequential(linear)
    quantize([block], precision)
    for row in range(32):
        assert relative_error(block(x)[:, row], expected[:, row]) < allowed


def test_a_row_of_zeros_stays_zero() -> None:
    linear = nn.Linear(4, 2, bias=False)
    linear.weight.data.zero_()
    assert not EightBitLinear(linear, torch.int8)(torch.ones(1, 4)).any()


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_generation_stays_close(case, precision: str) -> None:
    pipeline = load(case.family)
    before = sum(p.nbytes for p in pipeline.transformer.parameters())
    saved = sum(map(quantizable_bytes, pipeline.transformer.expert_blocks)) * 3 / 4
    quantize(pipeline.transformer.expert_blocks, precision)
    assert sum(p.nbytes for p in pipeline.transformer.parameters()) == before - saved
    error = relative_error(case.run(case.encoded(), pipeline), case.run(case.encoded()))
    assert 0 < error < (0.02 if precision == "int8" else 0.05)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_an_adapter_keeps_its_precision_and_takes_effect(case, precision: str) -> None:
    pipeline = load(case.family)
    quantize(pipeline.transformer.expert_blocks, precision)
    before = case.run(case.encoded(), pipeline)
    pipeline.transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]))
    for name, parameter in pipeline.transformer.named_parameters():
        if "lora_" in name:
            assert parameter.dtype == torch.float32
        if "lora_B" in name:
            torch.nn.init.constant_(parameter, 0.1)
    assert not torch.equal(case.run(case.encoded(), pipeline), before)


def test_a_layer_of_fp8_is_stored_byte_by_byte_and_read_back() -> None:
    torch.manual_seed(0)
    layers = [EightBitLinear(nn.Linear(8, 4), torch.float8_e4m3fn) for _ in range(2)]
    x = torch.randn(3, 8)
    assert layers[0].weight.nbytes == 8 * 4
    # A change of precision is one of what it computes in.
    assert layers[0].to(torch.bfloat16).weight.dtype == torch.uint8
    layers[0].float()
    layers[1].load_state_dict(layers[0].state_dict())
    assert torch.equal(layers[1](x), layers[0](x))


def test_norms_embeddings_and_the_output_stay_as_they_are(case) -> None:
    transformer = load(case.family).transformer
    quantize(transformer.expert_blocks, "int8")
    narrow = {n for n, m in transformer.named_modules() if isinstance(m, EightBitLinear)}
    assert any("attn1_mot_ref" in name for name in narrow)
    assert not any(
        part.startswith(("norm", "proj_out", "condition", "time", "patch"))
        for name in narrow
        for part in name.split(".")
    )


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="quantize='int3' is unknown"):
        quantize([nn.Linear(2, 2)], "int3")
