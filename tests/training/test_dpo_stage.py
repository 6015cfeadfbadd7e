import pytest
import torch
from safetensors.torch import load_file

from tests.training.tuning_tiny import VARIANTS, metrics_of, recipe_of
from vap.training.methods.lora import without_updates
from vap.training.stages import run_recipe
from vap.training.stages.dpo import DPOTask


def dpo(datasets, output, variant, **changes):
    changes = {"loop": {"steps": 25, "batch_size": 2}, **changes}
    return recipe_of(
        datasets[variant], output, variant, stage="dpo", model={"lora_rank": 4}, **changes
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.slow
def test_the_win_margin_moves_to_the_winners(variant, datasets, tmp_path) -> None:
    run_recipe(dpo(datasets, tmp_path, variant, optimizer={"learning_rate": 3e-3}))
    margins = [line["margin"] for line in metrics_of(tmp_path)]
    assert margins[0] == 0
    assert sum(margins[-5:]) / 5 < -1e-3
    saved = load_file(tmp_path / "pytorch_lora_weights.safetensors")
    assert {name.split(".")[0] for name in saved} == {"transformer"}
    assert any("_mot_ref" in name for name in saved)
    assert any("_mot_ref" not in name for name in saved)


def test_the_loss_is_the_formula_on_losses_of_both_models(datasets, tmp_path) -> None:
    task = DPOTask(dpo(datasets, tmp_path, "wan"))
    for name, parameter in task.transformer.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.02)
    batch = task.batch(0)
    measured = task.loss(task.model, batch, torch.Generator().manual_seed(3))

    def losses(model):
        generator = torch.Generator().manual_seed(3)
        streams = [
            task.variant.stream(e, generator) for e in (batch.winner, batch.loser, batch.reference)
        ]
        level = task.variant.objective.draw(2, generator)
        noise = torch.Generator()
        noise.set_state(generator.get_state())
        winner = task.variant.loss(model, streams[0], streams[2], level, noise)
        loser = task.variant.loss(model, streams[1], streams[2], level, noise)
        return winner - loser

    with torch.no_grad():
        adapted = losses(task.transformer)
        with without_updates(task.transformer):
            original = losses(task.transformer)
    margin = adapted - original
    expected = (-torch.log(torch.sigmoid(-0.5 * 500 * margin)) * batch.weight).mean()
    assert measured["margin"].item() == pytest.approx(margin.mean().item(), abs=1e-5)
    assert measured["loss"].item() == pytest.approx(expected.item(), rel=5e-3)


def test_only_updates_train_and_the_model_without_them_is_the_one_it_started_from(
    datasets, tmp_path
) -> None:
    task = DPOTask(dpo(datasets, tmp_path, "wan"))
    trained = [n for n, p in task.transformer.named_parameters() if p.requires_grad]
    assert all(".lora_" in name for name in trained)
    with without_updates(task.transformer):
        pass
    assert trained == [n for n, p in task.transformer.named_parameters() if p.requires_grad]


def test_pairs_are_the_same_whenever_they_are_asked_for(datasets, tmp_path) -> None:
    clips = DPOTask(dpo(datasets, tmp_path, "wan")).clips
    late = clips.batch(9).names
    early = clips.batch(0).names
    assert clips.batch(0).names == early
    assert clips.batch(9).names == late
