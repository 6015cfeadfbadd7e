import math

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tuning_tiny import GOLDEN, VARIANTS, metrics_of, recipe_of
from vap.loading.pipeline import load_transformer
from vap.models.expert import is_expert_name
from vap.training.stages import run_recipe
from vap.training.stages.sft import SFTTask


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.slow
def test_fifty_steps_move_the_expert_and_no_bit_of_the_backbone(
    variant, datasets, tmp_path
) -> None:
    recipe = recipe_of(datasets[variant], tmp_path, variant, loop={"steps": 50, "batch_size": 1})
    task = SFTTask(recipe)
    before = {name: tensor.clone() for name, tensor in task.transformer.state_dict().items()}
    from vap.training.trainer import train

    train(task, recipe, recipe.run)
    after = task.transformer.state_dict()
    backbone = [name for name in before if not is_expert_name(name)]
    assert all(torch.equal(before[name], after[name]) for name in backbone)
    assert any(not torch.equal(before[n], after[n]) for n in before if is_expert_name(n))
    losses = [line["loss"] for line in metrics_of(tmp_path)]
    assert sum(losses[-10:]) < sum(losses[:10])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_trained_expert_loads_into_the_backbone(variant, datasets, tmp_path) -> None:
    run_recipe(recipe_of(datasets[variant], tmp_path, variant))
    model = load_transformer(GOLDEN / variant)
    before = model.expert_state_dict()
    model.load_expert(tmp_path / "expert.safetensors")
    after = model.expert_state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_wan_loss_is_the_formula_on_the_batch_that_the_step_drew(datasets, tmp_path) -> None:
    task = SFTTask(recipe_of(datasets["wan"], tmp_path, "wan", loop={"batch_size": 1}))
    batch = task.batch(0)
    loss = task.loss(task.model, batch, torch.Generator().manual_seed(5))["loss"]

    generator = torch.Generator().manual_seed(5)
    place = torch.sigmoid(torch.randn(1, generator=generator))
    sigma = torch.linspace(1, 0.001, 1000)[(place * 1000).long()]
    clean = batch.target["latents"]
    noise = torch.randn(clean.shape, generator=generator)
    noisy = (1 - sigma) * clean + sigma * noise
    prediction = task.transformer(
        torch.cat([noisy, batch.target["condition"]], 1),
        (sigma.double() * 1000 + 1e-4).floor().long(),
        batch.target["text"],
        batch.target["image"],
        reference_hidden_states=torch.cat(
            [batch.reference["latents"], batch.reference["condition"]], 2
        ),
        reference_encoder_hidden_states=batch.reference["text"],
        reference_encoder_hidden_states_image=batch.reference["image"],
        reference_timestep=torch.tensor([1]),
    ).sample
    expected = ((prediction - (noise - clean)) ** 2).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_cogvideox_loss_is_the_formula_on_the_batch_that_the_step_drew(datasets, tmp_path) -> None:
    task = SFTTask(recipe_of(datasets["cogvideox"], tmp_path, "cogvideox", loop={"batch_size": 1}))
    batch = task.batch(0)
    loss = task.loss(task.model, batch, torch.Generator().manual_seed(5))["loss"]

    generator = torch.Generator().manual_seed(5)

    def drawn(moments):
        mean, log_variance = moments.chunk(2, dim=-4)
        noise = torch.randn(mean.flatten(0, -5).shape, generator=generator)
        deviation = (0.5 * log_variance.clamp(-30, 20)).exp()
        scale = task.variant._video_scale
        return scale * (mean + deviation * noise.reshape(mean.shape)).transpose(-3, -4)

    def stream(encodings):
        video, frame = drawn(encodings["video_moments"]), drawn(encodings["frame_moments"])
        padding = torch.zeros_like(video.narrow(-4, 0, video.shape[-4] - 1))
        return video, torch.cat([frame, padding], dim=-4)

    clean, condition = stream(batch.target)
    reference = torch.cat(stream(batch.reference), dim=3)
    timestep = torch.randint(1000, (1,), generator=generator)
    noise = torch.randn(clean.shape, generator=generator)
    alpha_bar = float(task.variant.objective._alphas_bar[timestep])
    noisy = math.sqrt(alpha_bar) * clean + math.sqrt(1 - alpha_bar) * noise
    velocity = task.transformer(
        torch.cat([noisy, condition], 2),
        batch.target["text"],
        timestep,
        reference_hidden_states=reference,
        reference_encoder_hidden_states=batch.reference["text"],
    ).sample
    estimate = math.sqrt(alpha_bar) * noisy - math.sqrt(1 - alpha_bar) * velocity
    expected = ((estimate - clean) ** 2).mean() / (1 - alpha_bar)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_averaged_weights_are_what_is_saved(datasets, tmp_path) -> None:
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    run_recipe(recipe_of(datasets["wan"], plain, "wan"))
    run_recipe(recipe_of(datasets["wan"], averaged, "wan", optimizer={"ema": 0.9}))
    last = load_file(plain / "expert.safetensors")
    mean = load_file(averaged / "expert.safetensors")
    shadow = load_file(averaged / "checkpoint" / "tensors.safetensors")
    name = "blocks.0.ffn_mot_ref.net.2.weight"
    assert torch.equal(mean[name], shadow[f"average.{name}"])
    assert torch.equal(last[name], shadow[f"model.{name}"])
    assert not torch.equal(mean[name], last[name])


def test_accumulating_two_batches_is_one_batch_of_both(datasets, tmp_path) -> None:
    task = SFTTask(recipe_of(datasets["wan"], tmp_path, "wan", loop={"batch_size": 1}))
    one, two = (task.loss(task.model, task.batch(i), _noise(i))["loss"].item() for i in (0, 1))
    run_recipe(
        recipe_of(
            datasets["wan"],
            tmp_path,
            "wan",
            loop={"batch_size": 1, "steps": 1},
            run={"accumulate": 2},
        )
    )
    assert metrics_of(tmp_path)[0]["loss"] == pytest.approx((one + two) / 2, rel=1e-5)


def _noise(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number * 1024)


def test_only_what_trains_has_optimizer_state(datasets, tmp_path) -> None:
    run_recipe(recipe_of(datasets["wan"], tmp_path, "wan", loop={"steps": 1}))
    saved = load_file(tmp_path / "checkpoint" / "tensors.safetensors")
    weights = [name for name in saved if name.startswith("model.")]
    assert all(is_expert_name(name) for name in weights)
    moments = {name.split(".")[2] for name in saved if name.endswith("exp_avg")}
    assert 0 < len(moments) <= len(weights)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_checkpointed_activations_give_the_same_loss(precision, datasets, tmp_path) -> None:
    losses = []
    for checkpointing in (False, True):
        output = tmp_path / str(checkpointing)
        run_recipe(
            recipe_of(
                datasets["wan"],
                output,
                "wan",
                model={"gradient_checkpointing": checkpointing},
                loop={"precision": precision},
            )
        )
        losses.append([line["loss"] for line in metrics_of(output)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_the_clip(
    datasets, tmp_path, monkeypatch
) -> None:
    recipe = recipe_of(datasets["wan"], tmp_path, "wan", loop={"batch_size": 1})
    task = SFTTask(recipe)
    from vap.training.trainer import train

    bad = task.batch(1)
    bad.target["latents"][0, 0, 0, 0, 0] = float("nan")
    good = task.batch
    monkeypatch.setattr(task, "batch", lambda step: bad if step == 1 else good(step))
    clip = bad.names[0]
    with pytest.raises(FloatingPointError, match=rf"nan at step 1 in process 0 on {clip}"):
        train(task, recipe, recipe.run)
    assert all(torch.isfinite(p).all() for p in task.transformer.parameters())


def test_gradients_that_are_not_finite_stop_before_the_step_and_are_named(
    datasets, tmp_path
) -> None:
    recipe = recipe_of(datasets["wan"], tmp_path, "wan")
    task = SFTTask(recipe)
    from vap.training.trainer import train

    parameters = task.transformer.named_parameters()
    name, parameter = next((n, p) for n, p in parameters if p.requires_grad)
    before = parameter.detach().clone()
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(FloatingPointError, match=f"not finite at step 0: {name}"):
        train(task, recipe, recipe.run)
    assert torch.equal(parameter, before)
