"""Weights in bfloat16 train as those in float32 do, and a continued run draws the same."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.training.tuning_tiny import metrics_of, recipe_of
from vap.training.checkpoints import RunState, load_checkpoint, save_checkpoint
from vap.training.optimizers import WeightAverage, build_optimizers
from vap.training.recipe import RecipeError
from vap.training.rounding import RoundedAdamW, round_stochastically
from vap.training.sections import OptimizerConfig
from vap.training.stages import run_recipe

RATE = 1e-5
CONFIG = OptimizerConfig(learning_rate=RATE, warmup=0)
COUNT = 20_000


def noise(seed):
    return torch.Generator().manual_seed(seed)


def weights(dtype):
    """Of the size that layers of thousands of channels have, the same in every precision."""
    start = 0.02 * torch.randn(COUNT, generator=noise(0))
    return nn.Parameter(start.bfloat16().to(dtype))


def gradient(step):
    """Noisy, and with a direction."""
    return 1e-3 * (1 + torch.randn(COUNT, generator=noise(1 + step)))


def advance(weight, optimizers, steps):
    for step in steps:
        weight.grad = gradient(step).to(weight.dtype)
        for optimizer in optimizers:
            optimizer.step()


def test_rounding_keeps_the_mean_and_takes_neighbors_only():
    value = 1 + 1 / 512  # a quarter of the way between two neighbors
    rounded = round_stochastically(torch.full((100_000,), value), noise(0))

    assert set(rounded.tolist()) == {1.0, 1 + 1 / 128}
    assert rounded.double().mean().item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("value", [0.0, -1.5, float("inf"), float("-inf")])
def test_what_bfloat16_holds_is_kept(value):
    assert (round_stochastically(torch.full((1000,), value), noise(0)) == value).all()


def test_what_is_no_number_stays_none():
    assert round_stochastically(torch.full((1000,), float("nan")), noise(0)).isnan().all()


def test_weights_in_bfloat16_move_as_those_in_float32_in_the_mean():
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        weight = weights(dtype)
        before = weight.detach().double().clone()
        advance(weight, build_optimizers([("weight", weight)], CONFIG), range(100))
        moved[dtype] = weight.detach().double() - before

    expected = moved[torch.float32]
    assert expected.mean().item() < -1e-4
    assert moved[torch.bfloat16].mean().item() == pytest.approx(expected.mean().item(), rel=0.03)
    # Those that are large for the rate, too, of which rounding to the nearest moves none.
    large = weights(torch.float32).detach().abs() > 0.02
    assert moved[torch.bfloat16][large].mean().item() == pytest.approx(
        expected[large].mean().item(), rel=0.05
    )


def test_moments_in_bfloat16_decay():
    weight = nn.Parameter(torch.zeros(1000, dtype=torch.bfloat16))
    optimizer = RoundedAdamW([weight], RATE, (0.9, 0.999), 1e-8)
    for step in range(300):
        weight.grad = torch.full_like(weight, 1.0 if step == 0 else 0.0)
        optimizer.step()

    square = optimizer.state[weight]["exp_avg_sq"].double().mean().item()
    assert square == pytest.approx(1e-3 * 0.999**299, rel=0.02)


def test_float32_weights_among_them_move_as_by_torchs_adamw():
    ours, theirs = weights(torch.float32), weights(torch.float32)
    rates = RATE, CONFIG.betas, CONFIG.epsilon
    advance(ours, [RoundedAdamW([ours], *rates)], range(5))
    advance(theirs, [torch.optim.AdamW([theirs], *rates, weight_decay=0.0)], range(5))

    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def test_a_continued_run_in_bfloat16_is_bit_identical_to_an_unbroken_one(tmp_path):
    unbroken = weights(torch.bfloat16)
    advance(unbroken, build_optimizers([("weight", unbroken)], CONFIG, seed=3), range(6))
    first = weights(torch.bfloat16)
    state = RunState([("weight", first)], build_optimizers([("weight", first)], CONFIG, seed=3))
    advance(first, state.optimizers, range(3))
    save_checkpoint(tmp_path / "checkpoint", state, 3, {})

    second = weights(torch.bfloat16)
    state = RunState([("weight", second)], build_optimizers([("weight", second)], CONFIG, seed=3))
    load_checkpoint(tmp_path / "checkpoint", state, {})
    advance(second, state.optimizers, range(3, 6))

    assert torch.equal(unbroken, second)
    other = weights(torch.bfloat16)
    advance(other, build_optimizers([("weight", other)], CONFIG, seed=4), range(6))
    assert not torch.equal(unbroken, other)


def test_the_average_of_bfloat16_weights_is_float32_and_follows_small_steps():
    weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))
    parameters = [("weight", weight)]
    average = WeightAverage(parameters, decay=0.999)
    with torch.no_grad():
        weight.add_(1 / 128)
    for _ in range(1000):
        average.update(parameters, step=10**6)

    assert average.shadow["weight"].dtype == torch.float32
    expected = 1 + (1 - 0.999**1000) / 128
    assert average.shadow["weight"][0].item() == pytest.approx(expected, abs=1e-5)
    average.copy_to(parameters)
    assert weight.dtype == torch.bfloat16
    assert weight[0].item() == 1.0078125


def test_muon_refuses_bfloat16_weights_and_says_what_to_do():
    weight = nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16))

    with pytest.raises(ValueError, match=r"model\.weights to float32, or optimizer\.name to adamw"):
        build_optimizers([("blocks.0.weight", weight)], OptimizerConfig(name="muon"))


def test_bfloat16_weights_in_float32_arithmetic_are_refused(datasets, tmp_path):
    with pytest.raises(RecipeError, match=r"Set loop\.precision to bf16"):
        recipe_of(datasets["wan"], tmp_path, "wan", model={"weights": "bfloat16"})


def test_a_bfloat16_recipe_trains_and_keeps_a_float32_average(datasets, tmp_path):
    changes = {
        "model": {"weights": "bfloat16"},
        "loop": {"precision": "bf16"},
        "optimizer": {"ema": 0.9},
    }
    run_recipe(recipe_of(datasets["cogvideox"], tmp_path, "cogvideox", **changes))

    saved = load_file(tmp_path / "checkpoint" / "tensors.safetensors")
    kinds = {name.split(".")[0]: tensor.dtype for name, tensor in saved.items()}
    assert kinds["model"] == torch.bfloat16
    assert kinds["average"] == torch.float32
    assert len(metrics_of(tmp_path)) == 3
