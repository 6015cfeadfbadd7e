import base64
import io
import json
from dataclasses import replace

import jwt
import numpy as np
import pytest
from PIL import Image

from tests.evaluation.systems.stand_in import KEY, SECRET
from vap.evaluation.systems.kling import (
    KlingEffects,
    KlingImageToVideo,
    KlingMotionControl,
    _listed,
)
from vap.evaluation.systems.registry import SYSTEMS
from vap.media import write_video

PAID = {"price": 1, "budget": 1000}
PUBLIC = "https://media.example/clips"


@pytest.fixture
def long_job(job, tmp_path):
    """A job whose reference lasts four seconds."""
    whole = job()
    frames = np.zeros((16, 16, 16, 3), np.uint8)
    reference = write_video(frames, tmp_path / "a clip.mp4", 4)
    return replace(whole, reference=reference)


def send(system, folder, *jobs):
    return list(system.run(jobs, folder / "ledger"))


def test_effects_send_the_scene_of_the_condition(stand_in, clock, job, tmp_path):
    system = KlingEffects(name="k", base_url=stand_in.url, effects={"melt": "melt_it"}, **PAID)
    assert system.covers(job().case)
    assert not system.covers(replace(job().case, condition="burn"))
    assert send(system, tmp_path, job())[0].error is None
    (task,) = stand_in.tasks
    assert task.path == "/v1/videos/effects"
    assert task.body["effect_scene"] == "melt_it"
    assert set(task.body["input"]) == {"image"}
    assert len(task.body["external_task_id"]) == 32


def test_image_to_video_sends_text_and_settings(stand_in, clock, job, tmp_path):
    system = KlingImageToVideo(
        name="k", base_url=stand_in.url, model_name="kling-v2-6", mode="pro", cfg_scale=0.5, **PAID
    )
    send(system, tmp_path, job())
    (task,) = stand_in.tasks
    image = base64.b64decode(task.body.pop("image"))
    assert min(Image.open(io.BytesIO(image)).size) == 300  # scaled up to what Kling takes
    task.body.pop("external_task_id")
    assert task.body == {
        "model_name": "kling-v2-6",
        "mode": "pro",
        "prompt": "cat melts",
        "cfg_scale": 0.5,
        "duration": "5",
    }


@pytest.mark.parametrize(("caption", "sent"), [("scene", "cat stands"), ("none", None)])
def test_the_caption_is_a_choice(caption, sent, stand_in, clock, job, tmp_path):
    system = KlingImageToVideo(name="k", base_url=stand_in.url, caption=caption, **PAID)
    send(system, tmp_path, job())
    assert stand_in.tasks[0].body.get("prompt") == sent


def test_motion_control_sends_the_address_of_the_reference(stand_in, clock, long_job, tmp_path):
    system = KlingMotionControl(
        name="k", base_url=stand_in.url, media_base_url=PUBLIC, media_root=tmp_path, **PAID
    )
    assert system.reads_reference
    (outcome,) = send(system, tmp_path, long_job)
    assert outcome.error is None
    body = stand_in.tasks[0].body
    assert body["video_url"] == f"{PUBLIC}/a%20clip.mp4"
    assert body["character_orientation"] == "image"
    assert base64.b64decode(body["image_url"])


def test_motion_control_is_priced_by_the_second(stand_in, clock, long_job, tmp_path):
    settings = {"base_url": stand_in.url, "media_base_url": PUBLIC}
    system = KlingMotionControl(name="k", price=2, budget=7, **settings)
    assert system.cost(long_job) == 8
    (outcome,) = send(system, tmp_path, long_job)
    assert "budget" in outcome.error
    assert not stand_in.tasks


@pytest.mark.parametrize(
    ("settings", "changes", "named"),
    [
        ({"media_base_url": PUBLIC, "media_root": "/elsewhere"}, {}, "media_root"),
        ({"media_base_url": PUBLIC}, {"reference": None}, "reference"),
        ({"media_base_url": PUBLIC}, {"short": True}, "seconds"),
    ],
)
def test_motion_control_says_what_it_cannot_send(
    settings, changes, named, stand_in, clock, job, long_job, tmp_path
):
    system = KlingMotionControl(name="k", base_url=stand_in.url, **PAID, **settings)
    asked = job() if changes.pop("short", False) else replace(long_job, **changes)
    (outcome,) = send(system, tmp_path, asked)
    assert named in outcome.error
    assert not stand_in.requests


def test_motion_control_needs_a_public_address(clock):
    with pytest.raises(ValueError, match="media_base_url"):
        KlingMotionControl(name="k", **PAID).check()


@pytest.mark.parametrize(
    ("tasks", "since", "found"),
    [
        ([], 0, None),
        ([("other", 5)], 0, None),
        ([("ours", 5), ("other", 5)], 0, "ours"),
        ([("other", 1_000_000)] * 500, 2_000, None),  # older than ours: ours would be there
        ([("other", 1_000_000)] * 500, 900, LookupError),
        ([(None, 5)], 0, LookupError),
        (None, 0, LookupError),
    ],
)
def test_a_list_tells_whether_a_task_is_missing(tasks, since, found):
    def told(name, created):
        information = {} if name is None else {"external_task_id": name}
        return {"task_id": name, "task_info": information, "created_at": created}

    answer = {"data": tasks and [told(*task) for task in tasks]}
    if tasks == []:
        answer = {"data": []}
    if found is LookupError:
        with pytest.raises(LookupError):
            _listed(answer, "ours", since)
    else:
        task = _listed(answer, "ours", since)
        assert (task and task.id) == found


def test_an_image_of_a_wrong_shape_is_not_sent(stand_in, clock, job, tmp_path):
    Image.new("RGB", (900, 300)).save(job().case.image)
    system = KlingImageToVideo(name="k", base_url=stand_in.url, **PAID)
    (outcome,) = send(system, tmp_path, job())
    assert "900x300" in outcome.error
    assert not stand_in.requests


def test_an_api_key_is_sent_as_it_is(stand_in, clock, job, tmp_path, monkeypatch):
    monkeypatch.setenv("KLING_API_KEY", KEY)
    monkeypatch.delenv("KLING_SECRET_KEY")
    system = KlingImageToVideo(name="k", base_url=stand_in.url, **PAID)
    system.check()
    assert send(system, tmp_path, job())[0].error is None


def test_tokens_are_signed_with_the_secret(clock):
    connection = KlingImageToVideo(name="k", **PAID).connect()
    token = connection.authorization().removeprefix("Bearer ")
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["iss"] == "access"
    assert claims["exp"] - claims["nbf"] == 1805


def test_identity_has_what_decides_the_videos_and_no_more(clock):
    system = KlingEffects(name="k", effects={"melt": "melt_it"}, **PAID)
    assert dict(system.identity()) == {
        "kind": "kling-effects",
        "effects": {"melt": "melt_it"},
    }
    json.dumps(dict(system.identity()))


def test_the_registry_knows_the_kinds():
    config = {"kind": "kling-effects", "name": "k", "effects": {"melt": "melt_it"}}
    assert isinstance(SYSTEMS.build(config, "test"), KlingEffects)
