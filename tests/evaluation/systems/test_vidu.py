import base64
import io
from dataclasses import replace

import pytest
from PIL import Image

from tests.evaluation.systems.stand_in import Handler, Task
from vap.evaluation.systems.registry import SYSTEMS
from vap.evaluation.systems.vidu import ViduImageToVideo, ViduTemplate

PAID = {"price": 4, "budget": 1000}


def send(system, folder, *jobs):
    return list(system.run(jobs, folder / "ledger"))


def test_templates_send_the_template_of_the_condition(stand_in, clock, job, tmp_path):
    system = ViduTemplate(name="v", base_url=stand_in.url, templates={"melt": "melting"}, **PAID)
    assert not system.covers(replace(job().case, condition="burn"))
    assert send(system, tmp_path, job(seed=6))[0].error is None
    (task,) = stand_in.tasks
    assert task.path == "/ent/v2/template"
    assert task.body["template"] == "melting"
    assert task.body["seed"] == 7  # 0 would be a random one
    assert task.body["payload"] == task.own_id
    head, content = task.body["images"][0].split(",")
    assert head == "data:image/png;base64"
    assert min(Image.open(io.BytesIO(base64.b64decode(content))).size) >= 128


def test_image_to_video_sends_text_and_settings(stand_in, clock, job, tmp_path):
    system = ViduImageToVideo(name="v", base_url=stand_in.url, resolution="720p", **PAID)
    send(system, tmp_path, job())
    body = stand_in.tasks[0].body
    assert body["model"] == "viduq2-pro"
    assert body["prompt"] == "cat melts"
    assert body["duration"] == 5
    assert body["resolution"] == "720p"


def test_a_lost_task_is_found_on_a_later_page(stand_in, clock, job, tmp_path):
    system = ViduImageToVideo(name="v", base_url=stand_in.url, in_flight=1, **PAID)
    stand_in.tasks += [Task(f"other-{i}", f"own-{i}", {}, "/ent/v2") for i in range(150)]
    stand_in.plan(submit=["drop-after"])
    (outcome,) = send(system, tmp_path, job())
    assert outcome.error is None
    assert len(stand_in.tasks) == 151


def test_a_list_without_our_ids_cannot_clear_a_loss(stand_in, clock, job, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "_list", _list_without_payload)
    stand_in.plan(submit=["drop"])
    (outcome,) = send(ViduImageToVideo(name="v", base_url=stand_in.url, **PAID), tmp_path, job())
    assert "may have been paid for" in outcome.error
    assert not stand_in.tasks


def _list_without_payload(self, query):
    del query
    self._json({"tasks": [{"id": "1", "state": "success"}]})


def test_the_registry_knows_the_kinds():
    config = {"kind": "vidu-template", "name": "v", "templates": {"melt": "melting"}}
    assert isinstance(SYSTEMS.build(config, "test"), ViduTemplate)
    with pytest.raises(ValueError, match="templates"):
        SYSTEMS.build({"kind": "vidu-template", "name": "v", "templates": {}}, "test")
