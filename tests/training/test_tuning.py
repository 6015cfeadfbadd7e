"""What a model is given before it trains further."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.training.tuning_tiny import GOLDEN, VARIANTS, recipe_of
from vap.loading.pipeline import load_transformer
from vap.models.expert_file import write_expert
from vap.training.methods import strategy_for
from vap.training.stages import run_recipe
from vap.training.stages.sft import SFTTask
from vap.training.tuning import build_model


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

    here = dict(task.transformer.named_parameters())
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


@pytest.mark.parametrize(
    ("stage", "model"),
    [("sft", {"method": "expert-lora"}), ("dpo", {}), ("distill", {})],
    ids=["expert-lora", "dpo", "distill"],
)
def test_a_lora_leaves_the_expert_that_there_is_or_says_why_it_cannot(
    stage, model, datasets, tmp_path
) -> None:
    def built(**changes):
        recipe = recipe_of(
            datasets["wan"], tmp_path, "wan", stage=stage, model={**model, **changes}
        )
        return build_model(recipe, strategy_for(recipe))

    trained = load_transformer(GOLDEN / "wan", dtype=torch.float32).expert_state_dict()
    depths = [0, 2]
    assert set(depths) == {int(name.split(".")[1]) for name in trained if name.startswith("blocks")}
    kept = {
        name.replace(".base_layer", ""): tensor
        for name, tensor in built(expert_blocks=depths).state_dict().items()
    }
    assert all(torch.equal(kept[name], tensor) for name, tensor in trained.items())

    with pytest.raises(ValueError, match=r"\[0, 2\]: a LoRA cannot move.*Leave out expert_bl"):
        built(expert_blocks=[0, 1, 2])
    bare = tmp_path / "bare"
    shutil.copytree(GOLDEN / "wan", bare)
    load_transformer(GOLDEN / "wan").remove_expert().save_pretrained(bare / "transformer")
    with pytest.raises(ValueError, match=r"has no expert\. Give an expert with model\.expert"):
        built(start=str(bare))


@pytest.mark.parametrize("read", ["flow_prediction", None, "sample"])
def test_a_model_is_trained_to_predict_what_its_scheduler_reads(read, datasets, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(GOLDEN / "wan", folder)
    place = folder / "scheduler" / "scheduler_config.json"
    config = {**json.loads(place.read_text(encoding="utf-8")), "prediction_type": read}
    if read is None:  # as flow matching's own scheduler, which reads velocities
        del config["prediction_type"]
    place.write_text(json.dumps(config), encoding="utf-8")

    def task(prediction):
        flow = {"prediction": prediction}
        start = {"start": str(folder)}
        return SFTTask(recipe_of(datasets["wan"], tmp_path, "wan", model=start, flow=flow))

    right, wrong = ("sample", "velocity") if read == "sample" else ("velocity", "sample")
    assert task(right).variant.objective.draw(1, torch.Generator()).shape == (1,)
    assert task(None).variant.flow.prediction == right
    with pytest.raises(ValueError, match=rf"flow\.prediction='{wrong}', but .*reads"):
        task(wrong)


@pytest.mark.parametrize(("variant", "refused"), [("cogvideox", True), ("wan", False)])
def test_residual_takes_the_mean_over_references_where_their_tokens_are_whole(
    variant, refused, datasets, tmp_path
) -> None:
    recipe = recipe_of(
        datasets[variant],
        tmp_path,
        variant,
        model={"method": "residual"},
        data={"references": 2},
        run={"context": 2},
    )
    if refused:
        with pytest.raises(ValueError, match=r"Set run\.context or data\.references to 1"):
            SFTTask(recipe)
    else:
        assert SFTTask(recipe).transformer.coupling == "addition"
