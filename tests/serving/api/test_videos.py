import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import finish
from vap.serving.jobs.job import ReferenceUse
from vap.serving.jobs.queue import Jobs
from vap.serving.settings import Settings


@pytest.fixture
def image(client: TestClient, samples: SimpleNamespace) -> str:
    """Id of an uploaded image."""
    return upload(client, samples.image)


def upload(client: TestClient, path: Any) -> str:
    answer = client.post("/v1/uploads", files={"file": path.read_bytes()})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def create(client: TestClient, image: str, **fields: Any) -> dict[str, Any]:
    headers = fields.pop("headers", {})
    answer = client.post("/v1/videos", json={"image": image, **fields}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def error(answer: Any) -> dict[str, Any]:
    assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
    return {"status": answer.status_code, **answer.json()["error"]}


def test_a_form_with_files_becomes_a_job(client: TestClient, samples: SimpleNamespace) -> None:
    files = {"input_reference": samples.image.read_bytes(), "reference": samples.video.read_bytes()}
    fields = {"prompt": "a cat", "seed": "7", "group": "cats", "check_reference": "true"}
    answer = client.post("/v1/videos", data=fields, files=files)
    video = answer.json()
    assert (video["object"], video["status"], video["progress"]) == ("video", "queued", 0)
    assert (video["prompt"], video["seed"], video["queue_position"]) == ("a cat", 7, 0)
    assert [set(each) for each in video["request"]["references"]] == [{"upload"}]
    assert (video["request"]["group"], video["request"]["check_reference"]) == ("cats", True)
    assert answer.headers["openai-poll-after-ms"] == "1000"
    assert client.get(f"/v1/videos/{video['id']}").json() == video


def test_uploads_are_listed_sent_and_deleted(client: TestClient, samples: SimpleNamespace) -> None:
    ids = [upload(client, path) for path in (samples.image, samples.video, samples.image)]
    assert ids[0] == ids[2]  # the same file
    assert [each["id"] for each in client.get("/v1/uploads").json()["data"]] == ids[1::-1]
    for each, path, kind in (
        (ids[0], samples.image, "image/png"),
        (ids[1], samples.video, "video/mp4"),
    ):
        sent = client.get(f"/v1/uploads/{each}/content")
        assert (sent.content, sent.headers["content-type"]) == (path.read_bytes(), kind)
        assert client.delete(f"/v1/uploads/{each}").json()["deleted"]
        assert client.get(f"/v1/uploads/{each}/content").status_code == 404


def test_stored_prompts_are_listed_and_deleted(
    client: TestClient, image: str, samples: SimpleNamespace
) -> None:
    files = {"file": samples.video.read_bytes()}
    made = client.post("/v1/prompts", files=files, data={"reference_prompt": "it burns"}).json()
    assert (made["encoded"], made["reference_prompts"]) == (False, ["it burns"])
    assert client.get("/v1/prompts").json()["data"] == [made]
    assert client.get(f"/v1/prompts/{made['id']}").json() == made
    assert error(client.post("/v1/prompts", json={"upload": image}))["param"] == "upload"
    assert client.delete(f"/v1/prompts/{made['id']}").json()["object"] == "prompt.deleted"
    assert client.get("/v1/prompts").json()["data"] == []
    assert client.get(f"/v1/uploads/{made['upload']}").status_code == 200


@pytest.mark.slow
def test_an_encoded_prompt_is_stored_by_itself(
    client: TestClient, image: str, samples: SimpleNamespace, tmp_path: Path
) -> None:
    file = tmp_path / "prompt.safetensors"
    command = ["prompt", "encode", str(samples.video), "--reference-prompt", "x", "-o", str(file)]
    subprocess.run([sys.executable, "-m", "vap", *command], check=True, capture_output=True)
    content = file.read_bytes()
    assert error(client.post("/v1/uploads", files={"file": content}))["status"] == 400
    made = client.post("/v1/prompts", files={"file": content}).json()
    assert (made["encoded"], made["upload"], made["reference_prompts"]) == (True, None, ["x"])
    references = [{"prompt": made["id"]}]
    assert create(client, image, references=references)["request"]["references"] == references
    stored = stored_file(client, f"prompts/{made['id']}.safetensors")
    assert stored == content
    assert error(client.post("/v1/prompts", files={"file": content[:-9]}))["status"] == 400


def stored_file(client: TestClient, key: str) -> bytes:
    with client.app.state.service.media.open(key) as file:  # type: ignore[attr-defined]
        return file.read()


def test_references_are_effects_uploads_and_prompts(
    client: TestClient, image: str, samples: SimpleNamespace
) -> None:
    video = upload(client, samples.video)
    assert create(client, image, effect="burn")["request"]["references"] == [{"effect": "burn"}]
    stored = client.post("/v1/prompts", json={"upload": video, "reference_prompt": "it burns"})
    asked = create(client, image, references=[{"prompt": stored.json()["id"]}])["request"]
    assert asked["references"] == [{"upload": video}]
    assert asked["reference_prompts"] == ["it burns"]


def test_brackets_of_the_openai_client_are_understood(client: TestClient, image: str) -> None:
    fields = {"image": image, "references[][effect]": "burn", "reference_prompts[]": "fire"}
    asked = client.post("/v1/videos", data=fields).json()["request"]
    assert (asked["references"], asked["reference_prompts"]) == ([{"effect": "burn"}], ["fire"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"image": "upload_00000000000000000000000000000000"}, "image"),
        ({"image": "../../etc/passwd"}, "image"),
        ({}, "image"),
        ({"imag": "x"}, None),
        ({"references": [{"effect": "nothing"}]}, "references"),
        ({"references": [{"effect": "../../x"}]}, "references"),
        ({"model": "no-model"}, "model"),
        ({"size": "1x1"}, "size"),
        ({"size": "17x17"}, "size"),
        ({"num_inference_steps": 201}, "num_inference_steps"),
        ({"seconds": 10**9}, "seconds"),
        ({"webhook_url": "ftp://example.com"}, "webhook_url"),
        ({"webhook_url": "http://127.0.0.1:1/"}, "webhook_url"),
        ({"input_reference": {"image_url": "http://example.com/x.png"}}, None),
    ],
)
def test_what_cannot_be_made_is_refused(
    client: TestClient, image: str, fields: dict[str, Any], param: str | None
) -> None:
    body = fields if fields.keys() & {"image", "imag"} or not fields else {"image": image, **fields}
    found = error(client.post("/v1/videos", json=body))
    assert (found["status"], found["type"]) == (400, "invalid_request_error")
    assert param is None or found["param"] in {param, "references.0.NamedEffect.effect"}


def test_a_part_of_a_reference_has_an_end_after_its_start(
    client: TestClient, image: str, samples: SimpleNamespace
) -> None:
    video = upload(client, samples.video)
    part = {"upload": video, "start": 0.1, "end": 0.5}
    assert create(client, image, references=[part])["request"]["references"] == [part]
    for wrong in ({"start": 0.5, "end": 0.5}, {"start": 0.7}, {"end": -1}, {"start": "x"}):
        references = [{"upload": video, **wrong}]
        refused = client.post("/v1/videos", json={"image": image, "references": references})
        assert error(refused)["status"] == 400
        assert error(refused)["param"].startswith("references")


def test_a_group_is_listed_by_its_name(client: TestClient, image: str) -> None:
    ids = [create(client, image, group=name)["id"] for name in ("a", "b", "a")]
    create(client, image)
    listed = client.get("/v1/videos", params={"group": "a", "limit": 1}).json()
    assert ([each["id"] for each in listed["data"]], listed["has_more"]) == (ids[:1:-1], True)
    rest = client.get("/v1/videos", params={"group": "a", "after": ids[2]}).json()
    assert [each["id"] for each in rest["data"]] == [ids[0]]
    assert client.get("/v1/videos", params={"group": "c"}).json()["data"] == []
    again = client.post(f"/v1/videos/{ids[0]}/remix", json={}).json()
    assert "group" not in again["request"]
    for wrong in ("", "x" * 65, "a\0"):
        assert error(client.get("/v1/videos", params={"group": wrong}))["param"] == "group"


def test_the_use_of_a_reference_is_told(
    client: TestClient, image: str, samples: SimpleNamespace, settings: Settings
) -> None:
    asked = client.post("/v1/videos", json={"image": image, "check_reference": True})
    assert error(asked)["status"] == 400  # there is none
    video = create(client, image, effect="burn", check_reference=True)
    assert video["reference_use"] is None
    use = ReferenceUse(0.5, "weak", "It does not follow.")
    finish(settings, samples.video, reference_use=use)
    shown = client.get(f"/v1/videos/{video['id']}").json()
    assert shown["reference_use"] == asdict(use)


def test_lists_go_on_after_an_id(client: TestClient, image: str) -> None:
    ids = [create(client, image, prompt=str(number))["id"] for number in range(3)]
    page = client.get("/v1/videos", params={"limit": 2}).json()
    assert [each["id"] for each in page["data"]] == [ids[2], ids[1]]
    assert page["has_more"]
    rest = client.get("/v1/videos", params={"after": page["last_id"]}).json()
    assert [each["id"] for each in rest["data"]] == [ids[0]]
    assert not rest["has_more"]
    assert error(client.get("/v1/videos", params={"limit": 0}))["param"] == "limit"


def test_content_is_sent_whole_and_by_ranges(
    client: TestClient, image: str, samples: SimpleNamespace, settings: Settings
) -> None:
    video = create(client, image)["id"]
    place = f"/v1/videos/{video}/content"
    assert error(client.get(place))["status"] == 409
    finish(settings, samples.video)
    done = client.get(f"/v1/videos/{video}").json()
    assert (done["status"], done["progress"], done["seconds"]) == ("completed", 100, "0.625")
    whole = client.get(place)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.content == samples.video.read_bytes()
    size = len(whole.content)
    for asked, start, end in [
        ("0-9", 0, 10),
        (f"{size - 3}-", size - 3, size),
        ("-4", size - 4, size),
    ]:
        part = client.get(place, headers={"Range": f"bytes={asked}"})
        assert (part.status_code, part.content) == (206, whole.content[start:end])
    assert client.get(place, headers={"Range": f"bytes={size}-"}).status_code == 416
    assert client.get(place, headers={"Range": "bytes=x"}).content == whole.content
    sheet = client.get(place, params={"variant": "spritesheet"})
    assert (sheet.headers["content-type"], sheet.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert error(client.get(place, params={"variant": "thumbnail"}))["status"] == 404


def test_a_video_is_canceled_and_deleted(
    client: TestClient, image: str, samples: SimpleNamespace, settings: Settings
) -> None:
    first, second = create(client, image)["id"], create(client, image)["id"]
    assert client.post(f"/v1/videos/{first}/cancel").json()["status"] == "canceled"
    finish(settings, samples.video)
    folder = settings.data / "media" / "videos" / second
    assert folder.exists()
    deleted = client.delete(f"/v1/videos/{second}").json()
    assert deleted == {"id": second, "object": "video.deleted", "deleted": True}
    assert not folder.exists()
    assert error(client.get(f"/v1/videos/{second}"))["status"] == 404


def test_a_remix_changes_what_it_names(client: TestClient, image: str) -> None:
    first = create(client, image, prompt="one", effect="burn", seed=3, size="96x64")
    answer = client.post(f"/v1/videos/{first['id']}/remix", json={"prompt": "two"})
    again = answer.json()
    assert again["remixed_from_video_id"] == first["id"]
    kept = {key: value for key, value in first["request"].items() if key != "seed"}
    assert again["request"] == {**kept, "prompt": "two"}


def test_an_idempotency_key_makes_one_job(client: TestClient, samples: SimpleNamespace) -> None:
    headers = {"Idempotency-Key": "once"}

    def send(prompt: str) -> Any:
        files = {"input_reference": samples.image.read_bytes()}
        return client.post("/v1/videos", data={"prompt": prompt}, files=files, headers=headers)

    assert send("a").json()["id"] == send("a").json()["id"]
    assert error(send("b"))["status"] == 409
    assert len(client.get("/v1/videos").json()["data"]) == 1


def test_events_follow_a_video_to_its_end(
    client: TestClient, image: str, samples: SimpleNamespace, settings: Settings
) -> None:
    video = create(client, image)["id"]
    states = []
    with client.stream("GET", f"/v1/videos/{video}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: "):
                states.append(json.loads(line.removeprefix("data: "))["status"])
                if states == ["queued"]:
                    finish(settings, samples.video)
    assert states == ["queued", "completed"]


def test_jobs_of_an_owner_are_limited(client: TestClient, image: str, settings: Settings) -> None:
    create(client, image)
    jobs = Jobs(settings)
    request = jobs.list()[0].request
    with pytest.raises(Exception, match="1 of your jobs"):
        jobs.submit(request, max_active=1)
    jobs.database.close()
