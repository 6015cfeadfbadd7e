from typing import get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.training.tuning_tiny import GOLDEN, VARIANTS, metrics_of, recipe_of
from vap.files.weights import LORA_FILE
from vap.loading.pipeline import load_transformer
from vap.models.expert import is_expert_name
from vap.training.methods.single_branch import tie_branches
from vap.training.methods.streams import load_alternative
from vap.training.stages.sft import SFTTask
from vap.training.trainer import train
from vap.training.tuning_config import Method, ModelConfig

METHODS = get_args(Method)


def trained(variant, method, datasets, output, **model):
    recipe = recipe_of(
        datasets[variant],
        output,
        variant,
        model={"method": method, "lora_rank": 2, **model},
        loop={"steps": 2, "batch_size": 1},
    )
    task = SFTTask(recipe)
    train(task, recipe, recipe.run)
    return task


def prediction(task, model=None):
    """What a model predicts, in the objective's own words: its loss on a fixed batch."""
    model = model or task.transformer
    with torch.no_grad():
        return task.loss(model, task.batch(0), torch.Generator().manual_seed(0))["loss"].item()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_from_its_recipe(variant, method, datasets, tmp_path) -> None:
    task = trained(variant, method, datasets, tmp_path)
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2]
    assert metrics_of(tmp_path)[-1]["gradient"] > 0
    names = [name for name, p in task.transformer.named_parameters() if p.requires_grad]
    expected = {
        "expert": is_expert_name,
        "cross-attention": is_expert_name,
        "residual": is_expert_name,
        "single-branch": lambda name: not is_expert_name(name),
    }.get(method, lambda name: ".lora_" in name)
    assert names
    assert all(map(expected, names))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", ["cross-attention", "residual"])
def test_other_couplings_load_again_with_the_same_predictions(
    variant, method, datasets, tmp_path
) -> None:
    task = trained(variant, method, datasets, tmp_path)
    fresh = load_transformer(GOLDEN / variant)
    assert load_alternative(fresh, tmp_path / "alternative.safetensors") == method
    assert prediction(task, fresh) == pytest.approx(prediction(task), rel=1e-6)


def test_an_alternative_that_is_not_whole_is_refused_by_the_tensor(datasets, tmp_path) -> None:
    trained("wan", "residual", datasets, tmp_path)
    file = tmp_path / "alternative.safetensors"
    with safe_open(file, framework="pt") as stored:
        header = stored.metadata()
    tensors = load_file(file)
    name = max(tensors)
    save_file({n: tensor for n, tensor in tensors.items() if n != name}, file, header)
    with pytest.raises(ValueError, match=name):
        load_alternative(load_transformer(GOLDEN / "wan"), file)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_single_branch_loads_as_any_model(variant, datasets, tmp_path) -> None:
    task = trained(variant, "single-branch", datasets, tmp_path)
    fresh = type(task.transformer).from_pretrained(tmp_path, subfolder="transformer")
    assert prediction(task, fresh) == pytest.approx(prediction(task), rel=1e-6)
    expert = fresh.expert_state_dict()
    assert any(not torch.equal(expert[n], v) for n, v in _golden_twins(variant, expert).items())


def _golden_twins(variant, expert):
    state = load_transformer(GOLDEN / variant).state_dict()
    return {name: state[name.replace("_mot_ref", "", 1)] for name in expert}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", ["expert-lora", "backbone-lora"])
def test_lora_loads_as_diffusers_does(variant, method, datasets, tmp_path) -> None:
    task = trained(variant, method, datasets, tmp_path)
    fresh = load_transformer(GOLDEN / variant)
    assert prediction(task, fresh) != prediction(task)
    fresh.load_lora_adapter(tmp_path / "pytorch_lora_weights.safetensors", prefix="transformer")
    assert prediction(task, fresh) == pytest.approx(prediction(task), rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", ["expert-lora", "single-branch-lora", "backbone-lora"])
def test_a_lora_continues_from_its_file(variant, method, datasets, tmp_path) -> None:
    task = trained(variant, method, datasets, tmp_path / "first")
    model = {"method": method, "lora_rank": 2, "lora": tmp_path / "first" / LORA_FILE}
    loop = {"batch_size": 1}
    again = SFTTask(recipe_of(datasets[variant], tmp_path, variant, model=model, loop=loop))
    assert prediction(again) == pytest.approx(prediction(task), rel=1e-6)


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        ({"lora_rank": 4}, ValueError, r"is 2×\d+ there and 4×\d+ here"),
        ({"lora_rank": 2, "method": "expert-lora"}, ValueError, "absent"),
        ({"lora_rank": 2, "method": "expert"}, ValueError, "trains no LoRA"),
        ({"lora": "nowhere.safetensors"}, FileNotFoundError, "does not exist"),
    ],
)
def test_a_lora_that_does_not_fit_is_refused(model, error, said, datasets, tmp_path) -> None:
    trained("wan", "backbone-lora", datasets, tmp_path / "first")
    model = {"method": "backbone-lora", "lora": tmp_path / "first" / LORA_FILE, **model}
    with pytest.raises(error, match=said):
        SFTTask(recipe_of(datasets["wan"], tmp_path / "again", "wan", model=model))


def test_a_damaged_lora_is_refused(datasets, tmp_path) -> None:
    path = tmp_path / LORA_FILE
    path.write_bytes(b"no tensors")
    model = {"method": "backbone-lora", "lora": path}
    with pytest.raises(ValueError, match="not a safetensors file"):
        SFTTask(recipe_of(datasets["wan"], tmp_path / "again", "wan", model=model))


@pytest.mark.parametrize("variant", VARIANTS)
def test_lora_of_a_single_branch_loads_into_a_tied_model(variant, datasets, tmp_path) -> None:
    task = trained(variant, "single-branch-lora", datasets, tmp_path)
    fresh = load_transformer(GOLDEN / variant)
    tie_branches(fresh, ModelConfig(start=""))
    fresh.load_lora_adapter(tmp_path / "pytorch_lora_weights.safetensors", prefix="transformer")
    assert prediction(task, fresh) == pytest.approx(prediction(task), rel=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_target_hears_the_reference_but_not_the_other_way_in_one_way_attention(
    variant, datasets, tmp_path
) -> None:
    heard = {}
    for method in ("expert", "cross-attention"):
        task = SFTTask(recipe_of(datasets[variant], tmp_path, variant, model={"method": method}))
        seen = []
        block = next(b for b in task.transformer.expert_blocks if b.has_expert)
        block.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        batch = task.batch(0)
        name = "latents" if variant == "wan" else "video_moments"
        for change in (0.0, 1.0):
            target = {**batch.target, name: batch.target[name] + change}
            task.loss(task.model, type(batch)(target, batch.reference, batch.names), _generator())
        first, second = seen
        stream = 1 if variant == "wan" else 2
        heard[method] = not torch.allclose(first[stream], second[stream])
    assert heard == {"expert": True, "cross-attention": False}


def _generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_residual_addition_starts_as_the_backbone(variant, datasets, tmp_path) -> None:
    model = SFTTask(recipe_of(datasets[variant], tmp_path, variant, model={"method": "residual"}))
    batch = model.batch(0)
    other = {name: tensor.roll(1, dims=0) for name, tensor in batch.reference.items()}
    losses = [
        model.loss(model.model, type(batch)(batch.target, r, batch.names), _generator())["loss"]
        for r in (batch.reference, other)
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)


def test_depths_and_positions_are_the_recipes(datasets, tmp_path) -> None:
    task = trained(
        "wan", "expert", datasets, tmp_path, expert_blocks=[1, 3], reference_positions="shared"
    )
    assert task.transformer.expert_depths == (1, 3)
    fresh = load_transformer(GOLDEN / "wan").load_expert(tmp_path / "expert.safetensors")
    assert fresh.config.reference_positions == "shared"
