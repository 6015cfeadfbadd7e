import json
from pathlib import Path

import pytest

from tests.training.tuning_tiny import GOLDEN, VARIANTS, recipe_of
from vap.files.folders import RELEASED
from vap.training.recipe import load_recipe, packaged_recipes
from vap.training.run_plan import plan_run, weightless
from vap.training.stages.sft import SFTTask
from vap.training.tuning_config import TuningStage

TUNING = [name for name in packaged_recipes() if "/" in name and not name.startswith("vap-mini/")]


@pytest.mark.parametrize(
    ("recipe", "parameters", "expert"),
    [("wan-14b/expert", 20.7, 4.3), ("cogvideox-5b/expert", 11.1, 5.5)],
)
def test_full_size_recipes_have_the_released_sizes(recipe, parameters, expert) -> None:
    plan = plan_run(load_recipe(Path(recipe)))
    assert round(plan.parameters / 1e9, 1) == parameters
    assert round(plan.expert / 1e9, 1) == expert
    assert f"{parameters}B of which {expert}B expert" in plan.lines()[0]


@pytest.mark.parametrize(
    ("variant", "shapes"),
    [("wan", "wan-14b-shapes.json"), ("cogvideox", "cogvideox-5b-shapes.json")],
)
def test_known_architectures_are_the_released_ones_tensor_by_tensor(variant, shapes) -> None:
    expected = json.loads((GOLDEN / shapes).read_text())["parameters"]
    _, model = weightless(RELEASED[variant])
    found = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert found == expected


@pytest.mark.parametrize("name", TUNING)
def test_every_packaged_recipe_of_full_size_fits_its_hardware(name) -> None:
    recipe = load_recipe(Path(name))
    assert isinstance(recipe, TuningStage)
    plan = plan_run(recipe)
    assert plan.fits, plan.lines()
    assert 1 < plan.seconds < 120


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("method", ["expert", "single-branch", "backbone-lora"])
def test_counts_are_those_of_the_model_that_trains(variant, method, datasets, tmp_path) -> None:
    recipe = recipe_of(datasets[variant], tmp_path, variant, model={"method": method})
    model = SFTTask(recipe).transformer
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert plan_run(recipe).trained == trained


def test_sharding_divides_weights_gradients_and_moments() -> None:
    alone, shared = (
        plan_run(load_recipe(Path("wan-14b/expert"), (f"run.sharding={sharding}", "run.shard=1")))
        for sharding in ("none", "fsdp")
    )
    assert shared.gradients == alone.gradients / 8
    assert shared.moments == alone.moments / 8
    assert shared.weights < alone.weights / 4
    assert not alone.fits


def test_more_accelerators_see_more_samples_in_the_same_time() -> None:
    one, six = (
        plan_run(load_recipe(Path(f"wan-14b/{name}"))) for name in ("expert", "expert-6-nodes")
    )
    assert (one.samples, six.samples) == (8, 48)
    assert one.seconds == six.seconds


def test_a_distilled_path_costs_all_of_the_teachers_steps() -> None:
    name = Path("cogvideox-5b/distill")
    step, path, longer = (
        plan_run(load_recipe(name, overrides))
        for overrides in (
            (),
            ("objective=path",),
            ("objective=path", "substeps=24"),
        )
    )
    # 4 × 12 guided steps of two passes, where consistency has one and a half; four of the student.
    assert 15 < path.seconds / step.seconds < 20
    assert longer.seconds / path.seconds == pytest.approx(
        (4 * 24 * 2 + 4 * 3) / (4 * 12 * 2 + 4 * 3), rel=0.05
    )
    assert path.activations > 2 * step.activations


def test_an_average_is_counted_in_float32() -> None:
    name = Path("cogvideox-5b/expert")
    without, with_average = (
        plan_run(load_recipe(name, overrides)) for overrides in ((), ("optimizer.ema=0.99",))
    )
    assert with_average.moments - without.moments == 4 * without.trained
    assert without.moments == 2 * 2 * without.trained


@pytest.mark.parametrize(
    ("run", "parts"),
    [
        ({"sharding": "fsdp", "shard": 1, "context": 2}, 8),
        ({"sharding": "hsdp", "shard": 2, "context": 2}, 4),
        ({"sharding": "none", "shard": 1, "context": 2}, 1),
    ],
)
def test_processes_that_share_a_video_share_the_weights_as_well(run, parts) -> None:
    changes = tuple(f"run.{name}={value}" for name, value in run.items())
    plan = plan_run(load_recipe(Path("wan-14b/expert"), changes))
    assert plan.gradients == 4 * plan.trained / parts
    assert plan.samples == 4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("run.shard=3",), "8 processes cannot be divided"),
        (("run.shard=16",), "Start a multiple of 16"),
        (("validation.every=500",), r"validation\.every to 0"),
    ],
)
def test_what_the_run_would_refuse_is_not_planned(changes, said) -> None:
    with pytest.raises(ValueError, match=said):
        plan_run(load_recipe(Path("wan-14b/expert"), changes))


def test_several_references_are_not_added_up_over_processes_that_share_a_video() -> None:
    changes = ("run.sharding=none", "run.shard=1", "run.context=2", "data.references=2")
    with pytest.raises(ValueError, match=r"run\.context or data\.references to 1"):
        plan_run(load_recipe(Path("cogvideox-5b/residual"), changes))


def test_what_validation_generates_with_is_counted(datasets, tmp_path) -> None:
    name = Path("cogvideox-5b/expert")
    without, validating = (
        plan_run(load_recipe(name, (f"validation.every={every}",))) for every in (0, 500)
    )
    # A text encoder of 4.8B numbers in bfloat16, and the VAE.
    assert (without.others, round(validating.others / 1e9)) == (0, 10)
    assert validating.memory >= without.memory + validating.others
    assert "encoders and VAE" in validating.lines()[3]
    tiny = recipe_of(datasets["wan"], tmp_path, "wan", validation={"every": 1})
    assert plan_run(tiny).others > 0


def test_an_expert_that_is_not_here_yet_is_planned_beside_a_lora(tmp_path) -> None:
    file = f"model.expert={tmp_path / 'expert.safetensors'}"
    base = "model.start=Wan-AI/Wan2.1-I2V-14B-480P-Diffusers"
    plan, released = (
        plan_run(load_recipe(Path("wan-14b/expert-lora"), changes))
        for changes in ((base, file), ())
    )
    assert (plan.expert, plan.trained) == (released.expert, released.trained)
