"""Every stage on a network of a few thousand weights, each fed by the one before."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from vap.acceleration.student import STEPS_NOTE, taught_steps
from vap.cli.app import app
from vap.files.weights import LORA_FILE
from vap.loading.pipeline import load_pipeline
from vap.media import read_clip, read_image
from vap.mini.training.encoded_pairs import only, read_shards
from vap.mini.training.mini_recipe import RenderConfig
from vap.mini.training.stages.backbone_stage import BackboneTask
from vap.mini.training.stages.expert_stage import ExpertTask
from vap.mini.training.stages.latents_stage import render_pairs
from vap.mini.training.stages.vae_stage import VAETask, render_clips, to_video
from vap.models.expert import is_expert_name
from vap.training import trainer
from vap.training.recipe import RecipeError, parse_recipe
from vap.training.stages import run_recipe

RENDER = {"height": 16, "width": 32, "frames": 5, "conditions": ["sepia", "pan"]}
ENCODERS = {
    "text_dim": 8, "text_layers": 1, "text_heads": 2,
    "image_dim": 8, "image_heads": 2, "image_size": 16, "image_patch": 8,
}  # fmt: skip
VAE = {"base_dim": 4, "decoder_base_dim": 4, "z_dim": 4}
MODEL = {
    "num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 12,
    "ffn_dim": 16, "freq_dim": 8,
}  # fmt: skip
LOOP = {"steps": 2, "batch_size": 2, "log_every": 1}
OPTIMIZER = {"name": "muon", "learning_rate": 1e-2, "warmup": 0, "ema": 0.5}


def vae_recipe(folder, **changes):
    return {
        "stage": "vae",
        "output": str(folder / "vae"),
        "loop": LOOP,
        "optimizer": OPTIMIZER,
        "render": RENDER,
        **({} if "start" in changes else {"model": VAE}),
        "statistics_clips": 2,
        **changes,
    }


def backbone_recipe(folder, **changes):
    return {
        "stage": "backbone",
        "output": str(folder / "backbone"),
        "latents": [str(folder / "latents")],
        "loop": LOOP,
        "optimizer": OPTIMIZER,
        **({} if "start" in changes else {"model": MODEL}),
        "encoders": ENCODERS,
        "flow": {"prediction": "sample"},
        **changes,
    }


def expert_recipe(folder, **changes):
    return {
        "stage": "expert",
        "output": str(folder / "expert"),
        "latents": [str(folder / "latents")],
        "backbone": str(folder / "backbone"),
        "loop": LOOP,
        "optimizer": OPTIMIZER,
        "flow": {"prediction": "sample"},
        **changes,
    }


def detail_recipe(folder, **changes):
    return {
        "stage": "detail",
        "output": str(folder / "detail"),
        "clips": str(folder / "clips"),
        "model": {"coarse_channels": 8, "fine_channels": 4, "match_channels": 4},
        "frames": 3,
        "loop": LOOP,
        "optimizer": {"learning_rate": 1e-3, "warmup": 0},
        **changes,
    }


def recipes(folder):
    """The stages in order."""
    latents = {
        "stage": "latents",
        "output": str(folder / "latents"),
        "vae": str(folder / "vae" / "vae"),
        "pairs": 3,
        "shard_size": 2,
        "render": RENDER,
        "encoders": ENCODERS,
    }
    export = {
        "stage": "export",
        "output": str(folder / "tiny"),
        "vae": str(folder / "vae" / "vae"),
        "backbone": str(folder / "backbone"),
        "expert": str(folder / "expert"),
        "generation_defaults": {"height": 16, "width": 32, "num_frames": 5},
    }
    clips = {
        "stage": "clips",
        "output": str(folder / "clips"),
        "pipeline": str(folder / "tiny"),
        "pairs": 8,
        "shard_size": 8,
        "render": RENDER,
    }
    demo = {
        "stage": "demo",
        "output": str(folder / "demo"),
        "render": {**RENDER, "split": "seen", "conditions": ["pan"]},
    }
    return [
        vae_recipe(folder),
        latents,
        backbone_recipe(folder),
        expert_recipe(folder),
        export,
        clips,
        detail_recipe(folder),
        demo,
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the command has run every stage once."""
    folder = tmp_path_factory.mktemp("stages")
    for recipe in recipes(folder):
        path = folder / f"{recipe['stage']}.yaml"
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        result = CliRunner().invoke(app, ["train", str(path)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    return folder


def metrics(folder):
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("stage", ["vae", "backbone", "expert", "detail"])
def test_every_training_stage_logs_its_steps(trained, stage):
    logged = metrics(trained / stage)

    assert [entry["step"] for entry in logged] == [1, 2]
    assert all(entry["gradient"] > 0 for entry in logged)


def exported_and_backbone(trained):
    """Tensors of the exported transformer, and of the backbone in the same precision."""
    exported = load_file(trained / "tiny/transformer/diffusion_pytorch_model.safetensors")
    backbone = load_file(trained / "backbone/transformer/diffusion_pytorch_model.safetensors")
    return exported, {name: tensor.half() for name, tensor in backbone.items()}


def test_a_line_of_metrics_is_the_mean_of_the_steps_since_the_last(trained, tmp_path):
    apart, together = tmp_path / "apart", tmp_path / "together"
    loop = {**LOOP, "steps": 4}
    for output, every in ((apart, 1), (together, 3)):
        recipe = backbone_recipe(trained, output=str(output), loop={**loop, "log_every": every})
        run_recipe(parse_recipe(recipe))
    losses = [line["loss"] for line in metrics(apart)]
    first, last = metrics(together)
    assert (first["step"], last["step"]) == (3, 4)
    assert first["loss"] == pytest.approx(sum(losses[:3]) / 3, abs=1e-5)
    assert last["loss"] == losses[3]


def test_the_backbone_is_bit_identical_after_expert_steps(trained):
    exported, backbone = exported_and_backbone(trained)

    assert {name for name in exported if not is_expert_name(name)} == set(backbone)
    assert all(torch.equal(exported[name], tensor) for name, tensor in backbone.items())


def test_the_expert_moves_away_from_its_backbone_twin(trained):
    exported, _ = exported_and_backbone(trained)
    name = "blocks.0.attn1_mot_ref.to_v.weight"

    assert not torch.equal(exported[name], exported[name.replace("_mot_ref", "")])


@pytest.mark.parametrize(
    ("method", "file"),
    [
        ("single-branch", "transformer/diffusion_pytorch_model.safetensors"),
        ("cross-attention", "alternative.safetensors"),
        ("residual", "alternative.safetensors"),
        ("backbone-lora", "pytorch_lora_weights.safetensors"),
    ],
)
def test_the_expert_stage_trains_what_the_expert_is_compared_with(trained, tmp_path, method, file):
    recipe = expert_recipe(trained, output=str(tmp_path), method=method)

    run_recipe(parse_recipe(recipe))

    assert load_file(tmp_path / file)


def test_the_expert_stage_continues_from_an_earlier_expert(trained, tmp_path):
    recipe = parse_recipe(
        expert_recipe(trained, output=str(tmp_path), start=str(trained / "expert"))
    )
    earlier = load_file(trained / "expert/expert.safetensors")

    begun = ExpertTask(recipe).transformer.expert_state_dict()

    assert all(torch.equal(begun[name], tensor) for name, tensor in earlier.items())


def test_compiling_reaches_every_repeated_block_and_keeps_weight_names(trained):
    model = BackboneTask(parse_recipe(backbone_recipe(trained))).model
    names = list(model.state_dict())

    trainer.compile_repeated_blocks(model)

    assert all(block._compiled_call_impl is not None for block in model.transformer.blocks)
    assert list(model.state_dict()) == names
    with pytest.raises(ValueError, match=r"Linear has no repeated blocks.*loop\.compile"):
        trainer.compile_repeated_blocks(torch.nn.Linear(1, 1))


def test_only_the_conditions_asked_for_are_trained_on(trained):
    pairs = read_shards(trained / "latents")
    (first, *_) = pairs.names

    kept = only(pairs, (first,))

    assert set(kept.names) == {first}
    assert len(kept.latents) == len(kept.captions) == pairs.names.count(first)
    with pytest.raises(ValueError, match="no pairs of moonwalk"):
        only(pairs, ("moonwalk",))


def test_a_decoder_trained_alone_leaves_latents_and_their_statistics_as_they_are(trained, tmp_path):
    start = trained / "vae/vae"
    recipe = vae_recipe(tmp_path, start=str(start), freeze_encoder=True)

    run_recipe(parse_recipe(recipe))

    before, after = (
        load_file(folder / "diffusion_pytorch_model.safetensors")
        for folder in (start, tmp_path / "vae/vae")
    )
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "post_quant_conv"}
    configs = [
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for folder in (start, tmp_path / "vae/vae")
    ]
    assert configs[0]["latents_mean"] == configs[1]["latents_mean"]


def test_latents_are_normalized_by_the_vaes_own_statistics(trained):
    config = json.loads((trained / "vae/vae/config.json").read_text(encoding="utf-8"))
    shards = sorted((trained / "latents").glob("*.safetensors"))

    latents = torch.cat([load_file(path)["latents"] for path in shards]).float()

    assert len(set(config["latents_std"])) == 1
    assert latents.shape == (3, 2, 4, 2, 2, 4)
    assert 0.3 < latents.std() < 3


def test_the_exported_folder_is_a_half_precision_pipeline(trained):
    weights = list((trained / "tiny").glob("*/*.safetensors"))
    pipeline = load_pipeline(trained / "tiny", device="cpu")
    image = np.zeros((16, 32, 3), dtype=np.uint8)
    clip = np.zeros((5, 16, 32, 3), dtype=np.uint8)

    told = {"reference_videos": [clip], "reference_prompts": ["a dog"]}
    video = pipeline(image, "a cat", **told, num_inference_steps=1, guidance_scale=1.0)

    assert len(weights) == 4
    assert not any(
        "_name_or_path" in path.read_text() for path in (trained / "tiny").glob("*/*.json")
    )
    assert all(t.dtype == torch.float16 for path in weights for t in load_file(path).values())
    assert np.asarray(video.frames[0]).shape == (5, 16, 32, 3)


def test_an_exported_student_is_in_half_precision_and_keeps_its_steps(trained, tmp_path):
    student = tmp_path / "student"
    student.mkdir()
    weights = {"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.rand(2, 4)}
    save_file(weights, student / LORA_FILE, metadata={STEPS_NOTE: "2"})
    export = next(recipe for recipe in recipes(trained) if recipe["stage"] == "export")
    export |= {"output": str(tmp_path / "model"), "student": str(student)}
    folder = run_recipe(parse_recipe(export)) / "student"
    ((name, tensor),) = load_file(folder / LORA_FILE).items()
    assert torch.equal(tensor, weights[name].half())
    assert taught_steps(folder) == 2


def recipe_of_export(trained, output, **changes):
    (export,) = (recipe for recipe in recipes(trained) if recipe["stage"] == "export")
    return parse_recipe(export | {"output": str(output), **changes})


def prediction_in(folder):
    path = folder / "scheduler" / "scheduler_config.json"
    return json.loads(path.read_text(encoding="utf-8"))["prediction_type"]


@pytest.mark.parametrize(
    ("trained_to", "read"), [("velocity", "flow_prediction"), ("sample", "sample")]
)
def test_an_exported_model_is_sampled_as_its_backbone_was_trained(
    trained, tmp_path, trained_to, read
):
    flow = {"prediction": trained_to}
    backbone = tmp_path / "backbone"
    run_recipe(parse_recipe(backbone_recipe(trained, output=str(backbone), flow=flow)))
    export = recipe_of_export(trained, tmp_path / "tiny", backbone=str(backbone))

    assert prediction_in(run_recipe(export)) == read

    other = "sample" if trained_to == "velocity" else "velocity"
    later = expert_recipe(trained, backbone=str(backbone), flow={"prediction": other})
    with pytest.raises(ValueError, match=f"scheduler reads '{read}'"):
        ExpertTask(parse_recipe(later))


def test_a_backbone_is_not_written_beside_another_image_encoder(trained, tmp_path):
    encoders = {**ENCODERS, "seed": 5}
    recipe = backbone_recipe(trained, output=str(tmp_path), encoders=encoders)

    with pytest.raises(ValueError, match=r'made by .*"seed": 0.*encoders are .*"seed": 5'):
        BackboneTask(parse_recipe(recipe))


def test_a_demo_is_a_clip_a_picture_and_their_captions(trained):
    described = json.loads((trained / "demo/demo.json").read_text(encoding="utf-8"))

    assert len(read_clip(trained / "demo" / described["reference"]).frames) == 5
    assert read_image(trained / "demo" / described["image"]).size == (32, 16)
    assert "camera" not in described["prompt"]
    assert described["condition"] == "pan"


def test_a_stopped_run_continues_bit_for_bit(trained, tmp_path):
    whole = expert_recipe(trained, output=str(tmp_path / "whole"))
    parted = expert_recipe(trained, output=str(tmp_path / "parted"))
    run_recipe(parse_recipe(whole))

    run_recipe(parse_recipe(parted | {"loop": LOOP | {"stop": 1}}))
    run_recipe(parse_recipe(parted))

    name = "expert.safetensors"
    a, b = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parted" / name)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_a_backbone_continues_from_a_finished_pipeline_in_full_precision(trained, tmp_path):
    recipe = backbone_recipe(trained, output=str(tmp_path), start=str(trained / "tiny"))
    task = BackboneTask(parse_recipe(recipe))
    before = load_file(trained / "backbone/transformer/diffusion_pytorch_model.safetensors")

    assert all(value.dtype == torch.float32 for value in task.model.parameters())
    assert not any(is_expert_name(name) for name, _ in task.model.named_parameters())
    for name, value in task.transformer.state_dict().items():
        torch.testing.assert_close(value, before[name], atol=1e-3, rtol=1e-3)


def test_latents_in_bfloat16_are_nearly_those_in_float32(trained, tmp_path):
    recipe = recipes(trained)[1] | {"output": str(tmp_path), "precision": "bf16"}
    run_recipe(parse_recipe(recipe))
    exact, rounded = (
        read_shards(folder).latents.float() for folder in (trained / "latents", tmp_path)
    )

    error = (rounded - exact).std() / exact.std()
    assert 0 < error < 0.02


def test_a_continued_backbone_keeps_its_tokens(trained, tmp_path, monkeypatch):
    recipe = parse_recipe(backbone_recipe(trained, output=str(tmp_path / "backbone")))
    first = BackboneTask(recipe).tokenizer("a cat").input_ids
    monkeypatch.setattr(
        "vap.mini.training.stages.backbone_stage.synth_captions", lambda: ["cat cat a"]
    )

    assert BackboneTask(recipe).tokenizer("a cat").input_ids == first


def test_a_loss_that_is_not_finite_stops_before_any_weight_moves(tmp_path, monkeypatch):
    recipe = parse_recipe(vae_recipe(tmp_path))
    task = VAETask(recipe)
    before = [value.clone() for value in task.model.parameters()]
    monkeypatch.setattr(
        task, "loss", lambda *_: {"loss": task.vae.quant_conv.bias.sum() * float("nan")}
    )

    with pytest.raises(FloatingPointError, match="step 0"):
        trainer.train(task, recipe)

    assert all(torch.equal(a, b) for a, b in zip(before, task.model.parameters(), strict=True))


MISSING = {
    "vae": {"start": "no/vae"},
    "latents": {"vae": "no/vae"},
    "backbone": {"start": "no/backbone"},
    "expert": {"backbone": "no/backbone"},
    "export": {"expert": "no/expert"},
}


@pytest.mark.parametrize("stage", MISSING)
def test_a_missing_earlier_stage_is_named_and_not_looked_up_elsewhere(trained, tmp_path, stage):
    (recipe,) = (recipe for recipe in recipes(trained) if recipe["stage"] == stage)
    changed = recipe | MISSING[stage] | {"output": str(tmp_path / "output")}
    if "start" in changed:
        del changed["model"]

    with pytest.raises(FileNotFoundError, match=r"no/(vae|backbone|expert).* stage first"):
        run_recipe(parse_recipe(changed))


def test_a_wrong_recipe_ends_with_a_message_and_no_traceback(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("stage: vae\noutptu: x\n", encoding="utf-8")

    result = CliRunner().invoke(app, ["train", str(path)])

    assert result.exit_code == 2
    assert "did you mean 'output'" in result.output


def test_a_deepened_backbone_computes_what_it_did_and_takes_the_moved_expert(trained, tmp_path):
    recipe = backbone_recipe(
        trained, output=str(tmp_path / "deeper"), start=str(trained / "backbone"), deepen_after=[0]
    )
    before = BackboneTask(parse_recipe({**recipe, "deepen_after": []}))
    deeper = BackboneTask(parse_recipe(recipe))
    losses = [
        task.loss(task.model, task.batch(0), torch.Generator().manual_seed(1))["loss"]
        for task in (before, deeper)
    ]
    assert len(deeper.transformer.blocks) == 3
    assert losses[0] == losses[1]

    run_recipe(parse_recipe(recipe))
    moved = expert_recipe(
        trained,
        backbone=str(tmp_path / "deeper"),
        start=str(trained / "expert"),
        expert_blocks=[0, 2],
    )
    task = ExpertTask(parse_recipe(moved))
    assert task.transformer.expert_depths == (0, 2)
    old = load_file(trained / "expert" / "expert.safetensors")
    new = task.transformer.expert_state_dict()
    assert set(new) == {name.replace("blocks.1.", "blocks.2.") for name in old}
    for name, tensor in old.items():
        assert torch.equal(new[name.replace("blocks.1.", "blocks.2.")], tensor)


def test_a_backbone_is_deepened_where_it_has_blocks(trained, tmp_path):
    start = {"start": str(trained / "backbone"), "output": str(tmp_path / "deeper")}
    with pytest.raises(ValueError, match=r"indices from 0 to 1"):
        BackboneTask(parse_recipe(backbone_recipe(trained, **start, deepen_after=[2])))
    with pytest.raises(RecipeError, match="start"):
        parse_recipe(backbone_recipe(trained, deepen_after=[0]))


def test_every_stage_renders_what_its_recipe_says():
    plain = {"height": 16, "width": 32, "frames": 5, "conditions": ("melt",)}
    clips, again, varied = (
        render_clips(RenderConfig(**plain, **more), 3, range(2)) for more in ({}, {}, {"varied": 1})
    )
    assert clips.shape == (2, 3, 5, 16, 32)
    assert torch.equal(clips, again)
    assert not torch.equal(clips, varied)
    pairs = render_pairs(RenderConfig(**plain, varied=1), 3, range(2))
    assert torch.equal(torch.stack([to_video(pair.target.frames) for pair in pairs]), varied)


def test_an_export_with_a_detail_network_loads_and_saves_with_it(trained, tmp_path):
    (export,) = [each for each in recipes(trained) if each["stage"] == "export"]
    shipped = {**export, "detail": str(trained / "detail"), "output": str(tmp_path / "shipped")}
    run_recipe(parse_recipe(shipped))
    pipeline = load_pipeline(tmp_path / "shipped", device="cpu")
    pipeline.save_pretrained(tmp_path / "again")
    again = load_pipeline(tmp_path / "again", device="cpu")
    image = np.full((16, 32, 3), 90, np.uint8)

    def frames(maker, **settings):
        generator = torch.Generator().manual_seed(0)
        return maker(image, "a", generator=generator, num_inference_steps=1, **settings).frames

    whole, latents = frames(pipeline), frames(pipeline, output_type="vae_latent")
    np.testing.assert_array_equal(frames(again), whole)
    np.testing.assert_array_equal(pipeline.decode(latents, image=image), whole)
    assert (pipeline.decode(latents) != whole).any()
    assert load_pipeline(trained / "tiny", device="cpu").detail is None
