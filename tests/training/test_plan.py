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
