"""Pipeline folders: what is loaded from them, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

import vap
from vap.files.folders import check_folder, generation_defaults_of, read_json, weight_files

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("wan", "cogvideox")


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(GOLDEN / "wan", tmp_path / "wan"))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("component", ["transformer", "vae", "text_encoder"])
def test_the_weights_of_a_folder_are_found(family, component):
    stored = sorted((GOLDEN / family / component).glob("*.safetensors"))
    assert weight_files(GOLDEN / family / component) == stored


def test_a_variant_alone_is_refused_with_the_name_that_is_loaded(folder):
    weights = folder / "text_encoder" / "model.safetensors"
    variant = weights.rename(weights.with_name("model.fp16.safetensors"))
    said = r"model\.fp16\.safetensors .* variant=: rename it to model\.safetensors"
    with pytest.raises(FileNotFoundError, match=said):
        check_folder(folder)
    check_folder(folder, "fp16")
    assert weight_files(folder / "text_encoder", "fp16") == [variant]
    variant.rename(weights)
    check_folder(folder)


def test_the_index_of_a_variant_is_what_to_rename(folder):
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    shard = weights.rename(
        weights.with_name("diffusion_pytorch_model.fp16-00001-of-00001.safetensors")
    )
    index = folder / "vae" / "diffusion_pytorch_model.safetensors.index.fp16.json"
    names = load_file(shard)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, shard.name)}))
    usual = "diffusion_pytorch_model.safetensors.index.json"
    with pytest.raises(FileNotFoundError, match=f"{index.name} .* rename it to {usual}"):
        check_folder(folder)
    assert weight_files(folder / "vae", "fp16") == [shard]
    index.rename(index.with_name(usual))
    check_folder(folder)
    assert weight_files(folder / "vae") == [shard]


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        ({"guidance": 5.0}, "unknown setting 'guidance'.*Did you mean 'guidance_scale'"),
        ({"xyz": 1}, "unknown setting 'xyz'.*Known are: height, width"),
        ([["height", 64]], "not an object"),
    ],
)
def test_a_setting_that_there_is_not_is_refused_by_name(folder, defaults, said):
    index = folder / "model_index.json"
    index.write_text(json.dumps(read_json(index) | {"generation_defaults": defaults}))
    for read in (generation_defaults_of, check_folder):
        with pytest.raises(ValueError, match=said):
            read(folder)


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing\. Copy it"):
        read_json(tmp_path / "config.json")


def test_a_variant_that_is_asked_for_is_loaded(folder):
    for weights in sorted(folder.glob("*/*.safetensors")):
        weights.rename(weights.with_name(f"{weights.stem}.fp16.safetensors"))
    assert vap.load_pipeline(folder, variant="fp16").family == "wan"


def test_a_configuration_is_read_again_once_its_file_has_changed(tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a": [1]}')
    first = read_json(path)
    first["a"].append(2)
    assert read_json(path) == {"a": [1]}
    path.write_text('{"a": [1, 3]}')
    assert read_json(path) == {"a": [1, 3]}
