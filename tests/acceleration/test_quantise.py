"""Eight-bit weights: what they cost in accuracy and save in bytes."""

import pytest
import torch
from torch import nn

from tests.pipelines.golden import load, relative_error
from vap.acceleration.quantise import EightBitLinear, quantisable_bytes, quantise


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
    quantise([block], precision)
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
    saved = sum(map(quantisable_bytes, pipeline.transformer.expert_blocks)) * 3 / 4
    quantise(pipeline.transformer.expert_blocks, precision)
    assert sum(p.nbytes for p in pipeline.transformer.parameters()) == before - saved
    error = relative_error(case.run(case.prompted(), pipeline), case.run(case.prompted()))
    assert 0 < error < (0.02 if precision == "int8" else 0.05)


def test_norms_embeddings_and_the_output_stay_as_they_are(case) -> None:
    transformer = load(case.family).transformer
    quantise(transformer.expert_blocks, "int8")
    narrow = {n for n, m in transformer.named_modules() if isinstance(m, EightBitLinear)}
    assert any("attn1_mot_ref" in name for name in narrow)
    assert not any(
        part.startswith(("norm", "proj_out", "condition", "time", "patch"))
        for name in narrow
        for part in name.split(".")
    )


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="quantise='int3' is unknown"):
        quantise([nn.Linear(2, 2)], "int3")
