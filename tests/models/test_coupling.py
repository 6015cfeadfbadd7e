"""An expert that is loaded is coupled jointly, whatever was there before."""

from pathlib import Path
from typing import Any

import pytest
import torch
from predictions import predict, without_reference
from variants import VARIANTS, Variant

from vap.training.methods.streams import couple_by_addition, couple_one_way

OTHERS = [couple_one_way, couple_by_addition]


@pytest.fixture(params=VARIANTS, ids=lambda variant: variant.name)
def variant(request) -> Variant:
    return request.param


@pytest.mark.parametrize("couple", OTHERS)
def test_an_expert_file_is_read_as_joint(variant: Variant, tmp_path: Path, couple: Any) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    expected, names = predict(model, arguments), set(model.state_dict())
    file = model.save_expert(tmp_path / "expert.safetensors")
    couple(model)
    changed = predict(model, arguments)
    model.load_expert(file)
    assert not torch.equal(changed, expected)
    assert model.coupling == "joint"
    assert torch.equal(predict(model, arguments), expected)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("couple", OTHERS)
def test_without_its_expert_the_backbone_is_stock(variant: Variant, couple: Any) -> None:
    model, (arguments, _) = variant.model(), variant.case()
    alone = without_reference(arguments)
    expected, stock = predict(model, alone), variant.model().remove_expert()
    couple(model)
    model.remove_expert()
    assert torch.equal(predict(model, alone), expected)
    assert model.state_dict().keys() == stock.state_dict().keys()
    assert not any(block._forward_hooks for block in model.expert_blocks)


def test_the_attention_kernel_stays(variant: Variant, tmp_path: Path) -> None:
    model = variant.model()
    file = model.save_expert(tmp_path / "expert.safetensors")
    couple_one_way(model)
    kernel = object()
    for block in model.expert_blocks:
        block.attn1.processor._attention_backend = kernel
    model.load_expert(file)
    assert all(block.attn1.processor._attention_backend is kernel for block in model.expert_blocks)


@pytest.mark.parametrize("couple", OTHERS)
def test_only_a_joint_expert_moves_and_grows(variant: Variant, couple: Any) -> None:
    model = variant.model()
    couple(model)
    depths = range(len(model.expert_blocks))
    with pytest.raises(ValueError, match="cannot be moved"):
        model.move_expert(depths[-len(model.expert_depths) :])
    with pytest.raises(ValueError, match="cannot be extended"):
        model.extend_expert(depths)
