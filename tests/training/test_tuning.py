"""What a model is given before it trains further."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.tuning_tiny import GOLDEN, VARIANTS, recipe_of
from vap.hub import load_transformer
from vap.models.expert_file import write_expert
from vap.training.stages import run_recipe
from vap.training.stages.sft import SFTTask


@pytest.fixture(params=VARIANTS)
def trained_expert(request, tmp_path):
    """A variant, and an expert file with values that bfloat16 does not hold."""
    model = load_transformer(GOLDEN / request.param, dtype=torch.float32)
    state = {name: tensor + 1e-4 for name, tensor in model.expert_state_dict().items()}
    path = write_expert(
        tmp_path / "trained.safetensors",
        state,
        transformer=type(model).__name__,
        depths=model.expert_depths,
        reference_positions="before",
    )
    return request.param, path, model.expert_depths


@pytest.mark.parametrize("moved", [False, True])
def test_an_expert_that_is_trained_further_in_mixed_precision_keeps_its_bits(
    moved, trained_expert, datasets, tmp_path
) -> None:
    variant, path, depths = trained_expert
    blocks = [depth + moved for depth in depths] if moved else []
    model = {"expert": str(path), "expert_blocks": blocks}
    task = SFTTask(
        recipe_of(datasets[variant], tmp_path, variant, model=model, loop={"precision": "bf16"})
    )

    here = dict(task.transformer.expert_parameters())
    for name, tensor in load_file(path).items():
        prefix, _, rest = name.partition(".")
        depth, _, rest = rest.partition(".")
        place = f"{prefix}.{int(depth) + moved}.{rest}" if prefix.endswith("blocks") else name
        if place in here:
            assert here[place].dtype == torch.float32
            assert torch.equal(here[place], tensor), place
    frozen = [p for p in task.transformer.parameters() if not p.requires_grad]
    assert {p.dtype for p in frozen if p.ndim > 1} >= {torch.bfloat16}


def test_a_lora_that_is_trained_further_in_mixed_precision_keeps_its_bits(
    datasets, tmp_path
) -> None:
    lora = {"method": "expert-lora", "lora_rank": 2}
    run_recipe(recipe_of(datasets["wan"], tmp_path / "a", "wan", model=lora, loop={"steps": 1}))
    path = tmp_path / "a" / "pytorch_lora_weights.safetensors"
    values = {name: tensor + 1e-4 for name, tensor in load_file(path).items()}
    save_file(values, path, metadata={"format": "pt"})

    further = {**lora, "lora": str(path)}
    recipe = recipe_of(
        datasets["wan"], tmp_path / "b", "wan", model=further, loop={"precision": "bf16"}
    )
    here = {
        f"transformer.{name.replace('.default.', '.')}": value
        for name, value in SFTTask(recipe).transformer.named_parameters()
        if value.requires_grad
    }

    assert here.keys() == values.keys()
    assert all(torch.equal(here[name], values[name]) for name in values)
