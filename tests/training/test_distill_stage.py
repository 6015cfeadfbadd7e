import json
from itertools import pairwise

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, UniPCMultistepScheduler
from safetensors.torch import load_file

from tests.training.tuning_tiny import GOLDEN, VARIANTS, recipe_of
from vap.acceleration.student import first_order
from vap.loading.pipeline import load_pipeline
from vap.models.reference_cache import GenerationMemory, StepMemory
from vap.pipelines.denoise import Reuse, released_sigmas
from vap.training.objectives.consistency import PhasePoints
from vap.training.sections import FlowConfig
from vap.training.stages import run_recipe
from vap.training.stages.distill import ConsistencyTask, PathTask
from vap.training.variants.cogvideox_variant import CogVideoXVariant
from vap.training.variants.wan_variant import WanVariant


def distill(datasets, output, variant, **changes):
    changes = {"loop": {"steps": 30, "batch_size": 4}, "steps": 2, "substeps": 4, **changes}
    if variant == "wan":
        changes.setdefault("flow", {"shift": 3.0})
    return recipe_of(
        datasets[variant], output, variant, stage="distill", model={"lora_rank": 4}, **changes
    )


TASKS = {"consistency": ConsistencyTask, "path": PathTask}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("objective", TASKS)
@pytest.mark.slow
def test_the_student_comes_closer_to_its_teacher(variant, objective, datasets, tmp_path) -> None:
    task = TASKS[objective](distill(datasets, tmp_path, variant))
    trained = [p for p in task.model.parameters() if p.requires_grad]
    optimizer, batch, losses = torch.optim.Adam(trained, 5e-3), task.batch(0), []
    for _ in range(12):
        # The same points and noise each time, and a teacher that stays.
        loss = task.loss(task.model, batch, torch.Generator().manual_seed(0))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_what_is_written_is_a_lora_of_the_backbone_that_a_pipeline_loads(
    datasets, tmp_path
) -> None:
    run_recipe(distill(datasets, tmp_path, "wan", loop={"steps": 2, "batch_size": 1}))
    saved = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    assert saved
    assert not any("_mot_ref" in name for name in saved)
    pipeline = load_pipeline(str(GOLDEN / "wan"), device="cpu")
    pipeline.load_lora_weights(str(tmp_path / "pytorch_lora_weights.safetensors"))
    assert pipeline.get_active_adapters()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fresh_student_is_right_where_its_teacher_takes_one_step_a_phase(
    variant, datasets, tmp_path
) -> None:
    task = ConsistencyTask(distill(datasets, tmp_path, variant, substeps=1, guidance=1.0))
    loss = task.loss(task.model, task.batch(0), torch.Generator().manual_seed(0))["loss"]
    assert loss.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_guidance_is_between_the_caption_and_the_empty_one(variant, datasets, tmp_path) -> None:
    task = ConsistencyTask(distill(datasets, tmp_path, variant, substeps=1, guidance=4.0))
    batch, generator = task.batch(0), torch.Generator().manual_seed(0)
    target, reference = (
        task.variant.stream(each, generator) for each in (batch.target, batch.reference)
    )
    empty = task.uncaptioned(target).text
    assert empty.shape == target.text.shape
    assert (empty == empty[0]).all()
    ends = task.schedule[[0, 1]].unsqueeze(1).expand(2, len(batch.names))
    points = PhasePoints(ends[0], ends[1], ends[1])
    noise = torch.randn(target.latents.shape, generator=generator)
    noisy = task.variant.objective.add_noise(target.latents, noise, points.start)
    with torch.no_grad():
        said, unsaid = (
            task.variant.predict(task.transformer, noisy, *streams, points.start)
            for streams in (
                (target, reference),
                (task.uncaptioned(target), task.uncaptioned(reference)),
            )
        )
        goal = task.goal(noisy, target, reference, points)
    expected = task.variant.objective.step(noisy, 4 * said - 3 * unsaid, points.start, points.end)
    torch.testing.assert_close(goal, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_guidance_by_the_reference_is_away_from_the_backbone(variant, datasets, tmp_path) -> None:
    changes = {"substeps": 1, "guidance": 1.0, "reference_guidance": 3.0}
    task = ConsistencyTask(distill(datasets, tmp_path, variant, **changes))
    batch, generator = task.batch(0), torch.Generator().manual_seed(0)
    target, reference = (
        task.variant.stream(each, generator) for each in (batch.target, batch.reference)
    )
    ends = task.schedule[[0, 1]].unsqueeze(1).expand(2, len(batch.names))
    points = PhasePoints(ends[0], ends[1], ends[1])
    noise = torch.randn(target.latents.shape, generator=generator)
    noisy = task.variant.objective.add_noise(target.latents, noise, points.start)
    with torch.no_grad():
        said, unseen = (
            task.variant.predict(task.transformer, noisy, target, given, points.start)
            for given in (reference, None)
        )
        goal = task.goal(noisy, target, reference, points)
    expected = task.variant.objective.step(noisy, 3 * said - 2 * unseen, points.start, points.end)
    torch.testing.assert_close(goal, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fresh_student_is_on_the_path_of_a_first_order_sampler_of_as_many_steps(
    variant, datasets, tmp_path
) -> None:
    changes = {"steps": 3, "substeps": 1, "guidance": 1.0}
    task = PathTask(distill(datasets, tmp_path, variant, **changes))
    task.sampler = first_order(task.sampler)
    loss = task.loss(task.model, task.batch(0), torch.Generator().manual_seed(0))["loss"]
    assert loss.item() == pytest.approx(0, abs=1e-6)


def test_the_path_is_that_of_the_models_own_sampler_with_guidance(datasets, tmp_path) -> None:
    changes = {"steps": 2, "substeps": 2, "guidance": 1.0, "reference_guidance": 3.0}
    task = PathTask(distill(datasets, tmp_path, "wan", **changes))
    batch, generator = task.batch(0), torch.Generator().manual_seed(0)
    target, reference = (
        task.variant.stream(each, generator) for each in (batch.target, batch.reference)
    )
    noise = torch.randn(target.latents.shape, generator=generator)
    ends, goals = task.path(noise, target, reference)
    sampler = UniPCMultistepScheduler.from_config(task.sampler.config)
    sampler.set_timesteps(sigmas=released_sigmas(sampler, 4, 1.0))
    latents, expected = noise, []
    for sigma, timestep in zip(sampler.sigmas, sampler.timesteps, strict=False):
        with torch.no_grad():
            said, unseen = (
                task.variant.predict(
                    task.transformer, latents, target, given, sigma.expand(len(noise))
                )
                for given in (reference, None)
            )
        latents = sampler.step(3 * said - 2 * unseen, timestep, latents, return_dict=False)[0]
        expected.append(latents)
    assert [float(end[0]) for end in ends] == pytest.approx([*sampler.sigmas[:4:2].tolist(), 0.0])
    for ours, theirs in zip(goals, expected[1::2], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_student_keeps_references_as_it_will_when_it_samples(variant, datasets, tmp_path) -> None:
    changes = {"objective": "path", "steps": 3, "substeps": 1, "guidance": 1.0}
    changes |= {"references_every": 2}
    task = PathTask(distill(datasets, tmp_path, variant, **changes))
    batch = task.batch(0)
    loss = task.loss(task.model, batch, torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    generator = torch.Generator().manual_seed(0)
    target, reference = (
        task.variant.stream(each, generator) for each in (batch.target, batch.reference)
    )
    noise = torch.randn(target.latents.shape, generator=generator)
    ends, goals = task.path(noise, target, reference)
    place, errors, memory = noise, [], GenerationMemory()
    for start, end, goal, use in zip(
        ends[:-1], ends[1:], goals, ["record", "read", "record"], strict=True
    ):
        with torch.no_grad():
            said = task.variant.predict(
                task.transformer, place, target, reference, start, memory, StepMemory(use=use)
            )
        place = task.variant.objective.step(place, said, start, end)
        errors.append((place - goal).square().mean())
    assert loss.item() == pytest.approx(torch.stack(errors).mean().item(), rel=1e-5)
    task.works = Reuse().schedule(3)
    anew = task.loss(task.model, batch, torch.Generator().manual_seed(0))["loss"]
    assert loss.item() != pytest.approx(anew.item(), rel=1e-3)
    assert any(p.grad.abs().sum() > 0 for p in task.model.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"objective": "consistency"}, "Set objective to path"),
        ({"model": {"gradient_checkpointing": True}}, "gradient_checkpointing to false"),
    ],
)
def test_references_are_kept_only_where_there_are_steps_to_keep_them_for(
    changes, advice, datasets, tmp_path
) -> None:
    changes = {"objective": "path", "references_every": 2, **changes}
    with pytest.raises(ValueError, match=advice):
        recipe_of(datasets["wan"], tmp_path, "wan", stage="distill", **changes)


@pytest.mark.parametrize("task", TASKS.values())
def test_both_objectives_need_the_prediction_that_the_scheduler_reads(
    task, datasets, tmp_path
) -> None:
    recipe = distill(datasets, tmp_path, "wan", flow={"prediction": "sample", "shift": 3.0})
    with pytest.raises(ValueError, match="scheduler reads 'flow_prediction'"):
        task(recipe)


def test_phases_are_spaced_as_the_sampler_will_space_its_steps(datasets, tmp_path) -> None:
    recipe = distill(datasets, tmp_path, "wan", flow={"shift": 1.0})
    with pytest.raises(ValueError, match=r"flow\.shift=1, .*Set flow\.shift to 3"):
        ConsistencyTask(recipe)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_wan_levels_are_those_of_the_sampler(shift) -> None:
    sampler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    sampler.set_timesteps(4)
    ours = WanVariant(FlowConfig(shift=shift)).schedule(sampler, 4)
    torch.testing.assert_close(ours, sampler.sigmas, atol=2e-6, rtol=0)


@pytest.mark.parametrize("prediction", ["velocity", "sample"])
def test_a_wan_step_to_clean_gives_the_clean_estimate(prediction) -> None:
    clean, noise = torch.randn(2, 2, 16, 2, 4, 6)
    level = torch.tensor([0.9, 0.3])
    sigma = level.view(-1, 1, 1, 1, 1)
    noisy = (1 - sigma) * clean + sigma * noise
    said = noise - clean if prediction == "velocity" else clean
    variant = WanVariant(FlowConfig(prediction=prediction))
    torch.testing.assert_close(
        variant.objective.step(noisy, said, level, torch.zeros(2)), clean, atol=1e-5, rtol=1e-5
    )


def test_cogvideox_levels_and_steps_are_those_of_its_ddim_sampler() -> None:
    config = json.loads((GOLDEN / "cogvideox/scheduler/scheduler_config.json").read_text())
    config |= {"timestep_spacing": "trailing"}
    sampler = CogVideoXDDIMScheduler.from_config(config)
    sampler.set_timesteps(4)
    variant = CogVideoXVariant(sampler.alphas_cumprod, 1.0)
    schedule = variant.schedule(sampler, 4)
    assert schedule[:-1].tolist() == sampler.timesteps.tolist()
    noisy, velocity = torch.randn(2, 1, 2, 3, 4, 6)
    for start, end in pairwise(schedule):
        expected = sampler.step(velocity, start, noisy, return_dict=False)[0]
        ours = variant.objective.step(noisy, velocity, start.view(1), end.view(1))
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
