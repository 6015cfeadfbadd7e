"""A record names the weights that made its video."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.running import COGVIDEOX, vap
from tests.media.making import moving
from vap.files.weights import weights_hash
from vap.generation.record import has_other_weights, recorded_run
from vap.generation.request import GenerationRequest
from vap.generation.run import generate, save


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    Image.fromarray(moving(1)[0]).save(folder / "image.png")
    request = GenerationRequest(
        folder / "image.png",
        model=str(COGVIDEOX),
        height=48,
        width=64,
        num_frames=9,
        num_inference_steps=1,
    )
    save(generate(request), folder / "out.mp4")
    return folder / "out.mp4"


@pytest.fixture(scope="module")
def other_model(tmp_path_factory) -> Path:
    """The same model, one value of its configuration apart."""
    folder = tmp_path_factory.mktemp("models") / "other"
    shutil.copytree(COGVIDEOX, folder)
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "scaling_factor": 0.5}))
    return folder


def test_the_record_holds_the_weights_and_so_does_the_video(video):
    record = recorded_run(video)
    assert record.weights == weights_hash(COGVIDEOX)
    assert record.embedded()["weights"] == record.weights


def test_another_models_weights_differ(video, other_model):
    record = recorded_run(video)
    assert not has_other_weights(record, str(COGVIDEOX))
    assert has_other_weights(record, str(other_model))


def test_what_cannot_be_compared_is_not_called_different(video, other_model):
    record = recorded_run(video)
    assert not has_other_weights(record, "owner/name")
    assert not has_other_weights(record, "é" * 200)  # 400 bytes: a name that no file can have
    assert not has_other_weights(replace(record, weights=None), str(other_model))


def test_repeating_with_other_weights_is_noted(video, other_model, tmp_path):
    note = "its weights differ"
    assert note not in vap("generate", "--repeat", video, "-o", tmp_path / "a.mp4").stderr
    repeated = ("generate", "--repeat", video, "--model", other_model)
    assert note in vap(*repeated, "-o", tmp_path / "b.mp4").stderr
