import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from tests.data.encoding import GOLDEN
from vap.data.clip_encoder import encoders_identity, other_encoders


@pytest.fixture(params=["wan", "cogvideox"])
def model(request, tmp_path):
    """A copy of a golden model, and its identity."""
    shutil.copytree(GOLDEN / request.param, tmp_path / "model")
    return tmp_path / "model", encoders_identity(str(tmp_path / "model"))


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_that_is_saved_anew_has_the_same_encoders(model) -> None:
    folder, identity = model
    rewrite(folder / "vae" / "config.json", _diffusers_version="99.0", _name_or_path="elsewhere")
    rewrite(folder / "text_encoder" / "config.json", transformers_version="99.0")
    assert encoders_identity(str(folder)) == identity
    assert other_encoders(identity, str(folder)) == []


def test_another_configuration_or_vocabulary_or_weights_are_other_encoders(model) -> None:
    folder, identity = model
    before = set()
    for change in (
        lambda: rewrite(folder / "vae" / "config.json", scaling_factor=0.5),
        lambda: rewrite(folder / "tokenizer" / "tokenizer.json", other=1),
        lambda: other_weights(folder / "vae" / "diffusion_pytorch_model.safetensors"),
    ):
        before.add(encoders_identity(str(folder))["encoders"])
        change()
        assert encoders_identity(str(folder))["encoders"] not in before
        assert other_encoders(identity, str(folder)) == ["encoders"]


def other_weights(path):
    values = {name: tensor * 1.5 for name, tensor in load_file(path).items()}
    save_file(values, path, metadata={"format": "pt"})
