import json
import shutil
from math import prod
from pathlib import Path

import pytest

from tests.pipelines.golden import FOLDER
from vap.cost.arithmetic import TransformerSize, generation_cost, stored_parameters
from vap.cost.model import PlannedModel
from vap.cost.released import RELEASED_MODELS
from vap.files.folders import RELEASED
from vap.shapes import Compression, PixelShape

SHAPES = {"wan": "wan-14b-shapes.json", "cogvideox": "cogvideox-5b-shapes.json"}


def released(family):
    return RELEASED_MODELS[RELEASED[family]]


def cost(plan, **changes):
    settings = {"steps": plan.steps, **changes}
    return generation_cost(plan.size, plan.shape, plan.compression, **settings)


@pytest.fixture(params=SHAPES)
def family(request):
    return request.param


@pytest.fixture
def shapes(family):
    return json.loads((FOLDER / SHAPES[family]).read_text())


@pytest.mark.parametrize(
    ("family", "tokens", "forward", "total"),
    [("wan", 20_280, 1.2e15, 1.2e17), ("cogvideox", 17_550, 9.7e14, 9.7e16)],
)
def test_released_models_cost_what_is_known_of_them(family, tokens, forward, total):
    found = cost(released(family))
    assert found.tokens == tokens
    assert found.flop_per_forward == pytest.approx(forward, rel=0.02)
    assert found.flop == pytest.approx(total, rel=0.02)


def test_floors_of_a_fast_accelerator():
    assert cost(released("wan")).flop / 790e12 == pytest.approx(152, rel=0.02)
    assert cost(released("cogvideox")).flop / 790e12 == pytest.approx(123, rel=0.02)


def test_released_configurations_are_those_of_the_release(family, shapes):
    assert dict(released(family).transformer) == shapes["config"]


def test_size_is_read_off_a_configuration():
    assert released("wan").size == TransformerSize("wan", 40, 10, 5120, 13824, image_tokens=257)
    assert released("cogvideox").size == TransformerSize("cogvideox", 42, 41, 3072, 12288)


def test_parameters_of_the_transformers_are_those_of_their_tensors(family, shapes):
    counted = sum(prod(shape) for shape in shapes["parameters"].values())
    assert released(family).parameters["transformer"] == pytest.approx(counted, rel=0.01)


def test_guidance_doubles_steps_multiply_and_references_add(family):
    plan = released(family)
    once = cost(plan, steps=1, guidance=False).flop
    assert cost(plan, steps=7).flop == pytest.approx(14 * once)
    alone = cost(plan, steps=1, guidance=False, references=0).flop
    two = cost(plan, steps=1, guidance=False, references=2).flop
    assert alone < once < two


def test_without_an_expert_references_cost_nothing():
    size = TransformerSize.of(
        {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 3}, "cogvideox"
    )
    settings = {"shape": PixelShape(9, 48, 64), "compression": Compression(4, 8, (1, 2, 2))}
    with_reference = generation_cost(size, steps=1, **settings)
    without = generation_cost(size, steps=1, references=0, **settings)
    assert with_reference == without


def test_stored_parameters_are_counted_without_loading(family):
    counts = stored_parameters(FOLDER / family)
    assert {"transformer", "vae", "text_encoder"} <= counts.keys()
    assert "tokenizer" not in counts
    weights = FOLDER / family / "transformer" / "diffusion_pytorch_model.safetensors"
    # Stored in float32, with a header of some kilobytes.
    assert 4 * counts["transformer"] < weights.stat().st_size < 4.5 * counts["transformer"]


def test_a_variant_beside_the_weights_is_not_counted(tmp_path: Path, family):
    folder = Path(shutil.copytree(FOLDER / family, tmp_path / family))
    for weights in sorted(folder.glob("*/*.safetensors")):
        shutil.copy(weights, weights.with_name(f"{weights.stem}.fp16.safetensors"))
    assert stored_parameters(folder) == stored_parameters(FOLDER / family)


def test_folder_is_planned_from_its_configurations(tmp_path: Path):
    native = {"height": 64, "width": 96, "num_frames": 17, "fps": 8.0, "num_inference_steps": 20}
    files = {
        "model_index.json": {"generation_defaults": native | {"guidance_scale": 1.0}},
        "transformer/config.json": {
            "num_attention_heads": 4,
            "attention_head_dim": 32,
            "num_layers": 6,
            "ffn_dim": 512,
            "image_dim": None,
            "patch_size": [1, 2, 2],
            "block_idx_with_mot_ref": [0, 3],
        },
        "vae/config.json": {"scale_factor_temporal": 4, "scale_factor_spatial": 8},
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    plan = PlannedModel.from_folder(tmp_path, "wan")
    assert plan.size == TransformerSize("wan", 6, 2, 128, 512)
    assert plan.shape == PixelShape(17, 64, 96)
    assert plan.compression == Compression(4, 8, (1, 2, 2))
    assert (plan.steps, plan.guidance) == (20, False)
    assert (plan.parameters, plan.largest_encoder_weight) == ({}, 0)
