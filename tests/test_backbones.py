"""A backbone from one file and the expert from its checkpoint are the checkpoint's model."""

from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file, save_file

import vap
from tests.pipelines.golden import FOLDER, Golden, golden, relative_error
from vap.models.expert import is_expert_name

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def backbone_tensors() -> dict[str, torch.Tensor]:
    state = load_file(FOLDER / "wan" / WEIGHTS)
    return {name: tensor for name, tensor in state.items() if not is_expert_name(name)}


@pytest.fixture(scope="module")
def wan() -> Golden:
    return golden("wan")


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory) -> Path:
    """The golden backbone with the matrices of its blocks in eight bits."""
    path = tmp_path_factory.mktemp("gguf") / "backbone.gguf"
    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in backbone_tensors().items():
        values = tensor.numpy()
        if values.ndim == 2 and name.startswith("blocks") and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def run(wan: Golden, backbone: Path) -> torch.Tensor:
    pipeline = vap.load_pipeline(wan.folder, device="cpu", backbone=backbone)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.transformer.expert_depths == wan.pipeline.transformer.expert_depths
    return wan.run(wan.prompted(), pipeline)


def test_a_gguf_backbone_comes_close(wan: Golden, gguf_file: Path) -> None:
    error = relative_error(run(wan, gguf_file), wan.run(wan.prompted()))
    assert 0 < error < 0.02


def test_a_backbone_of_the_same_weights_is_the_model(wan: Golden, tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    save_file(backbone_tensors(), path)
    assert relative_error(run(wan, path), wan.run(wan.prompted())) < 1e-5


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("missing.gguf", FileNotFoundError, "no backbone file"),
        ("weights.ckpt", ValueError, r"\.gguf or \.safetensors"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, error: type, message: str) -> None:
    if error is ValueError:
        (tmp_path / name).touch()
    with pytest.raises(error, match=message):
        vap.load_pipeline(FOLDER / "wan", backbone=tmp_path / name)


def test_the_other_variant_is_refused(gguf_file: Path) -> None:
    with pytest.raises(ValueError, match="Wan variant from a single file"):
        vap.load_pipeline(FOLDER / "cogvideox", backbone=gguf_file)
