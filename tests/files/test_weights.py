"""The identity of weights: the same wherever they lie, another when they change."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.pipelines.golden import FOLDER
from tests.training.tuning_tiny import recipe_of, write_dataset
from vap.files.errors import MediaError
from vap.files.weights import save_tensors, weights_hash
from vap.mini.training.encoded_pairs import EncodedPairs, ShardOrigin, write_shard
from vap.models.expert_file import write_expert
from vap.models.wan import WanVideoAsPromptTransformer3DModel
from vap.synth.classifier import Recognizer, save_recognizer
from vap.training.stages import run_recipe

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
    with pytest.raises(FileNotFoundError, match="contains no weights"):
        weights_hash(tmp_path)


@contextmanager
def little_space() -> Iterator[None]:
    """No file may grow above a few bytes: the system's answer is like that of a full disk.

    For no longer than the block: what pytest writes of its results is no exception.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_pairs(folder: Path) -> None:
    tensor = torch.zeros(1, 2, 1000)
    pairs = EncodedPairs(tensor, tensor, tensor, [], [])
    write_shard(folder / "pairs", pairs, ShardOrigin(0, 0, "", ""))


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: save_tensors({"a": torch.zeros(1000)}, folder / "a"),
        lambda folder: write_expert(
            folder / "e",
            {"a": torch.zeros(1000)},
            transformer="wan",
            depths=[0],
            reference_positions="before",
        ),
        lambda folder: save_recognizer(Recognizer(), folder / "r"),
        write_pairs,
    ],
)
def test_a_disk_without_space_is_no_error_of_a_library(
    write: Callable[[Path], None], tmp_path: Path
) -> None:
    with pytest.raises(MediaError, match="File too large"), little_space():
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_models_and_runs_say_that_a_disk_is_full(tmp_path: Path) -> None:
    model = WanVideoAsPromptTransformer3DModel.from_pretrained(FOLDER / "wan" / "transformer")
    write_dataset(tmp_path / "data", "wan")
    with pytest.raises(OSError, match="File too large"), little_space():
        model.save_pretrained(tmp_path / "model")
    tensors = r"tensors\.safetensors.*File too large"
    with pytest.raises(MediaError, match=tensors), little_space():
        run_recipe(recipe_of(tmp_path / "data", tmp_path / "run", "wan"))
