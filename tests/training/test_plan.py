import json
from pathlib import Path

import pytest

from tests.training.tuning_tiny import GOLDEN, VARIANTS, recipe_of
from vap.hub import RELEASED
from vap.training.architectures import weightless
from vap.training.config import load_recipe
from vap.training.plan import plan_run
from vap.training.recipe_files import packaged_recipes
from vap.training.stages.sft import SFTTask
from vap.training.tuning_config import TuningStage

TUNING = [name for name in packaged_recipes() if "/" in name]


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
        plan_run(load_recipe(Path("wan-14b/expert"), (f"run.sharding={sharding}",)))
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
