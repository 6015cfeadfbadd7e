import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.checkpoint import write_checkpoint
from benchmarks.measured.created import create_components
from benchmarks.measured.weights import fill
from benchmarks.sizes import SIZES
from safetensors.torch import load_file

from vap.files.folders import check_folder, family_of
from vap.pipelines.base import pipeline_class

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = ("tiny", "tiny-cogvideox")


@pytest.mark.parametrize("name", TINY)
def test_a_checkpoint_has_the_released_layout(name, tmp_path):
    size, folder = SIZES[name], tmp_path / "checkpoint"
    write_checkpoint(size, folder)
    check_folder(folder)
    assert family_of(folder) == size.family
    golden = GOLDEN / size.family
    assert _classes(folder) == _classes(golden)
    assert _weights(folder / "transformer").keys() == _weights(golden / "transformer").keys()
    if size.image_encoder is not None:
        tensors = load_file(folder / "image_encoder" / "model.safetensors")
        assert all(tensor.startswith("vision_model.") for tensor in tensors)


@pytest.mark.parametrize("name", TINY)
def test_weights_made_on_the_device_are_those_that_are_written(name, tmp_path):
    size = SIZES[name]
    write_checkpoint(size, tmp_path / "written")
    write_checkpoint(replace(size, needs_gpu=True), tmp_path / "described")
    check_folder(tmp_path / "described")
    transformer = pipeline_class(size.family).transformer_class
    components = create_components(
        tmp_path / "described", size.family, transformer, torch.float32, torch.device("cpu")
    )
    for component in ("transformer", "vae"):
        written = _weights(tmp_path / "written" / component)
        made = components[component].state_dict()
        assert all(torch.equal(made[key], tensor) for key, tensor in written.items())


def test_weights_depend_on_the_name_alone():
    first, again, other = torch.empty(8, 4), torch.empty(8, 4), torch.empty(8, 4)
    fill("a.weight", first)
    torch.manual_seed(5)
    fill("a.weight", again)
    fill("b.weight", other)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_weights_do_not_depend_on_a_prefix_that_versions_disagree_about():
    long, short = torch.empty(8, 4), torch.empty(8, 4)
    fill("vision_model.encoder.fc1.weight", long)
    fill("encoder.fc1.weight", short)
    assert torch.equal(long, short)


@pytest.mark.parametrize(
    ("name", "file"),
    [("wan-14b", "wan-14b-shapes.json"), ("cogvideox-5b", "cogvideox-5b-shapes.json")],
)
def test_full_sizes_are_the_released_ones(name, file):
    released = json.loads((GOLDEN / file).read_text())["config"]
    ours = SIZES[name].transformer
    assert {key: ours[key] for key in released if key in ours} == {
        key: value for key, value in released.items() if key in ours
    }
    assert set(ours) - set(released) <= {"patch_size"}


@pytest.mark.parametrize("name", ["cpu-mid-wan", "cpu-mid-cogvideox"])
def test_mid_sizes_have_1200_tokens_and_the_said_blocks(name):
    size = SIZES[name]
    assert size.compression.tokens(size.shape) == 1200
    assert (size.transformer_size.width, size.transformer_size.blocks) == (512, 12)
    assert size.transformer_size.coupled == {"wan": 3, "cogvideox": 11}[size.family]


def _classes(folder):
    index = json.loads((folder / "model_index.json").read_text())
    return {name: entry for name, entry in index.items() if name != "_diffusers_version"}


def _weights(folder):
    return load_file(folder / "diffusion_pytorch_model.safetensors")
