"""The identity of weights: the same wherever they lie, another when they change."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.pipelines.golden import FOLDER
from vap.weights import weights_hash

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / "wan", tmp_path / "moved"))


def test_a_moved_folder_has_the_same_hash(copy: Path) -> None:
    found = weights_hash(copy)
    assert found == weights_hash(FOLDER / "wan") != weights_hash(FOLDER / "cogvideox")
    assert len(bytes.fromhex(found)) == 32


def test_who_saved_a_configuration_is_no_part_of_it(copy: Path) -> None:
    config = copy / "vae" / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**dict(reversed(content.items())), "_diffusers_version": "9"}))
    assert weights_hash(copy) == weights_hash(FOLDER / "wan")


def changed_config(folder: Path) -> None:
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "flow_shift": 9.0}))


def trained_weights(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    save_file({name: tensor + 1e-3 for name, tensor in state.items()}, folder / WEIGHTS)


def other_precision(folder: Path) -> None:
    state = load_file(folder / WEIGHTS)
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in state.items()}, folder / WEIGHTS)


def missing_part(folder: Path) -> None:
    shutil.rmtree(folder / "image_encoder")


def cut_short(folder: Path) -> None:
    contents = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(contents[:-1])


@pytest.mark.parametrize(
    "change", [changed_config, trained_weights, other_precision, missing_part, cut_short]
)
def test_what_changes_the_model_changes_the_hash(copy: Path, change) -> None:
    before = weights_hash(copy)
    change(copy)
    assert weights_hash(copy) != before


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no weights"):
        weights_hash(tmp_path)
