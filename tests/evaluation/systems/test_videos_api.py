import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from vap.evaluation.systems.registry import SYSTEMS
from vap.evaluation.systems.videos_api import VideosApi, VideosApiReference
from vap.media import write_video


def send(system, folder, *jobs):
    return list(system.run(jobs, folder / "ledger"))


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_image_and_settings_are_sent_as_a_form(suffix, stand_in, clock, job, tmp_path):
    system = VideosApi(
        name="s",
        base_url=stand_in.url + suffix,
        model="wan",
        size="832x480",
        fields={"num_frames": 49, "negative_prompt": "blur"},
    )
    system.check()
    assert send(system, tmp_path, job(seed=3))[0].error is None
    body = dict(stand_in.tasks[0].body)
    assert body.pop("input_reference") > 0
    assert body == {
        "prompt": "cat melts",
        "seed": "3",
        "model": "wan",
        "size": "832x480",
        "num_frames": "49",
        "negative_prompt": "blur",
    }


def test_conditions_carry_the_reference(stand_in, clock, job, tmp_path):
    system = VideosApiReference(name="s", base_url=stand_in.url)
    send(system, tmp_path, job())
    body = stand_in.tasks[0].body
    (condition,) = body["conditions"]
    assert (condition["type"], condition["role"]) == ("video", "reference")
    head, content = condition["uri"].split(",")
    assert head == "data:video/mp4;base64"
    assert base64.b64decode(content) == job().reference.read_bytes()
    assert body["input_reference"].startswith("data:image/png;base64,")


def test_a_public_reference_is_named_by_its_address(stand_in, clock, job, tmp_path):
    system = VideosApiReference(
        name="s",
        base_url=stand_in.url,
        reference_field="video_reference",
        media_base_url="https://media.example",
    )
    send(system, tmp_path, job())
    body = stand_in.tasks[0].body
    reference = {"video_url": "https://media.example/cat-reference.mp4"}
    assert json.loads(body["video_reference"]) == reference
    assert "input_reference" not in body  # the server takes one of the two


def test_a_folder_of_frames_is_sent_as_a_video(stand_in, clock, job, tmp_path):
    frames = write_video(np.zeros((3, 16, 16, 3), np.uint8), tmp_path / "frames", 8)
    system = VideosApiReference(
        name="s", base_url=stand_in.url, reference_field="control_reference"
    )
    (outcome,) = send(system, tmp_path, replace(job(), reference=frames))
    assert outcome.error is None
    assert stand_in.tasks[0].body["control_reference"] > 500


def test_without_a_reference_it_is_image_to_video(stand_in, clock, job, tmp_path):
    system = VideosApiReference(name="s", base_url=stand_in.url)
    send(system, tmp_path, replace(job(), reference=None, variant="none"))
    assert "conditions" not in stand_in.tasks[0].body


def test_a_server_with_a_price_needs_budget_and_key(clock, monkeypatch):
    with pytest.raises(ValueError, match="budget"):
        VideosApi(name="s", base_url="http://localhost:1", price=1).check()
    system = VideosApi(name="s", base_url="http://localhost:1", price=1, budget=2)
    with pytest.raises(ValueError, match="VIDEOS_API_KEY"):
        system.check()
    monkeypatch.setenv("VIDEOS_API_KEY", "k")
    system.check()


def test_a_server_that_is_not_there_is_an_explained_error(clock, job, tmp_path):
    system = VideosApi(name="s", base_url="http://127.0.0.1:9", timeout_seconds=30)
    (outcome,) = send(system, tmp_path, job())
    assert "127.0.0.1:9" in outcome.error


def test_the_registry_knows_the_kinds():
    config = {"kind": "videos-api-reference", "name": "s", "base_url": "http://localhost:8000"}
    assert isinstance(SYSTEMS.build(config, "test"), VideosApiReference)
