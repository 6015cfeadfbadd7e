"""Requests that mean harm: no error of the server, and no file outside its folder."""

import io
import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import LOCAL
from vap.serving.api import captions
from vap.serving.api.app import create_app
from vap.serving.settings import Settings

NAMES = [
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "..\\..\\windows",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "file:///etc/passwd",
    "%00",
    "video_%00",
    "video_" + "0" * 32,
    "video_" + "0" * 5000,
    "video_" + "0" * 32 + "%0a",
    "%ff%fe",
    "%f0%9f%98%80",
    "'; DROP TABLE jobs; --",
    "1 OR 1=1",
    "{{7*7}}",
    "$(id)",
    "`id`",
    "<script>",
    "con",
    ".",
    "..",
    "~root",
    "a" * 4000,
]
PLACES = [
    "/v1/videos/{}",
    "/v1/videos/{}/content",
    "/v1/videos/{}/events",
    "/v1/uploads/{}",
    "/v1/uploads/{}/content",
    "/v1/prompts/{}",
    "/v1/effects/{}",
    "/v1/effects/{}/preview",
    "/v1/effects/burn/{}",
    "/v1/models/{}",
    "/v1/videos?after={}",
    "/v1/videos?limit={}",
    "/v1/videos?group={}",
    "/{}",
]
ID = "upload_" + "0" * 32
BODIES: list[bytes] = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"1",
    b"{",
    b"{}" * 10,
    b"\xff\xfe\x00",
    b"\x00",
    b'{"image": "\\ud800"}',
    b'{"image": "\\u0000"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"seed": ' + b"9" * 10_000 + b"}",
    b'{"seed": 1e400}',
    b'{"guidance_scale": NaN}',
    b'{"guidance_scale": Infinity}',
    *(
        json.dumps({"image": ID, **each}).encode()
        for each in (
            {"__proto__": {"x": 1}},
            {"__class__": "x"},
            {"image": None},
            {"image": ["x"]},
            {"image": {"upload": ID}},
            {"image": "x" * 100_000},
            {"prompt": ["x"]},
            {"prompt": "x" * 1_000_000},
            {"prompt": "\u202e\u0000"},
            {"references": "x"},
            {"references": {"a": 1}},
            {"references": [None]},
            {"references": [[]]},
            {"references": [{}]},
            {"references": [{"upload": 1}]},
            {"references": [{"upload": ID, "effect": "burn"}]},
            {"references": [{"prompt": "../x"}]},
            {"references": [{"prompt": "\u0000"}]},
            {"references": [{"prompt": []}]},
            {"references": [{"effect": "/etc"}]},
            {"references": [{"effect": "../burn"}]},
            {"references": [{"effect": {}}]},
            {"references": [{"effect": "burn"}] * 1000},
            {"reference_prompts": "x"},
            {"reference_prompts": [1]},
            {"effect": []},
            {"effect": "../../x"},
            {"model": "/etc"},
            {"model": "../vap-mini"},
            {"model": 1},
            {"size": "0x0"},
            {"size": "99999x99999"},
            {"size": "1e3x5"},
            {"size": 5},
            {"seconds": -1},
            {"seconds": "x"},
            {"seconds": 1e-300},
            {"num_frames": 10**30},
            {"num_frames": 20_000},
            {"num_inference_steps": 0},
            {"seed": -1},
            {"seed": 1 << 64},
            {"strength": 5},
            {"profile": "x"},
            {"group": ""},
            {"group": "x" * 65},
            {"group": "\u0000"},
            {"group": ["x"]},
            {"check_reference": True},
            {"check_reference": "x", "effect": "burn"},
            {"expert": "/etc/passwd"},
            {"expert": "../x"},
            {"expert": "\u0000"},
            {"expert": 1},
            {"references": [{"upload": ID, "start": -1}]},
            {"references": [{"upload": ID, "start": 5, "end": 2}]},
            {"references": [{"upload": ID, "end": 1e300}]},
            {"references": [{"upload": ID, "start": "x"}]},
            {"references": [{"effect": "burn", "start": 1}]},
            {"webhook_url": 1},
            {"webhook_url": "javascript:alert(1)"},
            {"webhook_url": "http://169.254.169.254/latest/meta-data"},
            {"webhook_url": "http://[::ffff:127.0.0.1]/"},
            {"webhook_url": "http://2130706433/"},
            {"webhook_url": "https://x\r\nHost: y/"},
            {"input_reference": "x"},
            {"input_reference": {}},
            {"input_reference": {"image_url": "file:///etc/passwd"}},
            {"input_reference": {"image_url": "http://127.0.0.1/"}},
            {"input_reference": {"image_url": "data:image/png;base64,%%%"}},
            {"input_reference": {"image_url": "data:,"}},
            {"input_reference": {"file_id": {"a": 1}}},
        )
    ),
]
HEADERS: list[dict[str, str]] = [
    {"Idempotency-Key": "x" * 300},
    {"Idempotency-Key": "a b"},
    {"Idempotency-Key": ""},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary="},
    {"Content-Type": "multipart/form-data; boundary=" + "x" * 5000},
    {"Content-Type": "application/x-www-form-urlencoded; charset=utf-7"},
    {"Content-Type": "application/json; charset=nothing"},
    {"Content-Type": "text/xml"},
    {"Content-Type": ""},
    {"Content-Length": "-1"},
    {"Content-Length": "x"},
    {"Content-Length": "9" * 30},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer " + "x" * 10_000},
    {"Authorization": "Basic eDp4"},
    {"Range": "bytes=0-" + "9" * 100},
    {"Range": "bytes=9-1,2-3"},
    {"Range": "bytes=--"},
    {"Origin": "\xff"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-HTTP-Method-Override": "DELETE"},
    {"Transfer-Encoding": "gzip"},
    {"Expect": "200-ok"},
    {"Host": "127.0.0.1:x"},
]


@pytest.fixture(autouse=True)
def confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """See that nothing is written beside the folder of the service."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    assert list(here.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} <= {"here", settings.data.name, "xdg"}


def check(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
    assert "Traceback" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("place", PLACES)
def test_names_that_are_paths_and_more(client: TestClient, place: str) -> None:
    for name in NAMES:
        for method in ("GET", "DELETE"):
            check(client.request(method, place.format(name)))


def test_bodies_that_are_no_requests(client: TestClient) -> None:
    kind = {"Content-Type": "application/json"}
    for body in BODIES:
        answer = client.post("/v1/videos", content=body, headers=kind)
        check(answer)
        assert answer.status_code == 400, body[:80]
        for place in ("/v1/prompts", "/v1/uploads", f"/v1/videos/video_{'0' * 32}/remix"):
            answer = client.post(place, content=body, headers=kind)
            check(answer)
            assert answer.status_code in {400, 404}


def test_bodies_that_are_nothing_to_estimate_or_describe(
    settings: Settings, predicted: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    async def at_once(*given: Any) -> dict[str, str]:
        asked.append(given)
        return {"reference_prompt": "", "prompt": "", "writer": ""}

    monkeypatch.setattr(captions, "in_helper", at_once)
    kind = {"Content-Type": "application/json"}
    changes = {"captioner": "local:none", "requests_per_minute": 0}
    app = create_app(settings.model_copy(update=changes))
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        for body in BODIES:
            for place in ("/v1/estimates", "/v1/captions"):
                check(client.post(place, content=body, headers=kind))
    assert all(work["model"] == "vap-mini" for work in predicted)
    assert not asked


def test_headers_that_are_wrong(client: TestClient) -> None:
    for headers in HEADERS:
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        for method, path in [
            ("POST", "/v1/videos"),
            ("GET", "/v1/videos"),
            ("POST", "/v1/uploads"),
        ]:
            check(client.request(method, path, headers=encoded, content=b"x"))


def test_forms_that_are_wrong(client: TestClient) -> None:
    forms: list[dict[str, Any]] = [
        {"image[": "x"},
        {"image[x][y]": "x"},
        {"references[]": "x"},
        {"references[][a]": "x"},
        {"references": "[" * 10_000},
        {"references": "x"},
        {"references": ["[]", "y"]},
        {"references[a]": "b", "references[][c]": "d", "references": "e"},
        {"image": ID, "image[]": "x"},
        {"x" * 1000: "y"},
        {"": "y"},
        {"seed": "\uff11\uff12"},
        {"seed": "0x10"},
        {"prompt": "\0"},
        {f"field{number}": "x" for number in range(500)},
    ]
    for form in forms:
        answer = client.post("/v1/videos", data=form)
        check(answer)
        assert answer.status_code == 400
    many = [("reference", (f"{number}.mp4", b"x")) for number in range(50)]
    check(client.post("/v1/videos", files=many))
    check(client.post("/v1/videos", files={"other": b"x"}))
    check(client.post("/v1/uploads", data={"file": "no file"}))


def test_names_of_files_are_only_shown(client: TestClient, samples: SimpleNamespace) -> None:
    image = samples.image.read_bytes()
    for number, name in enumerate(("../../x.png", "/etc/x", "x\0.png", "\u202egnp.exe", "x" * 999)):
        # Bytes after the end of a PNG make it another file.
        answer = client.post("/v1/uploads", files={"file": (name, image + bytes([number]))})
        check(answer)
        assert answer.status_code == 200
        assert len(answer.json()["name"]) <= 100


def test_effects_are_installed_only_where_that_is_enabled(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    assert client.post("/v1/effects", files={"file": b"PK"}).status_code == 403
    allowed = settings.model_copy(update={"allow_effect_uploads": True})
    with TestClient(create_app(allowed), base_url=LOCAL, raise_server_exceptions=False) as client_:
        for name in ("../x", "/x", "a\\b", "manifest.yaml"):
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr(name, "id: ../../x\nname: x")
            answer = client_.post("/v1/effects", files={"file": packed.getvalue()})
            check(answer)
            assert answer.status_code == 400
    assert not list((tmp_path / "xdg").rglob("*"))


@pytest.mark.slow
def test_damaged_uploads(client: TestClient, samples: SimpleNamespace) -> None:
    rng = random.Random(0)
    for original in (samples.image.read_bytes(), samples.video.read_bytes()):
        for _ in range(20):
            content = bytearray(original)
            for _ in range(rng.randrange(1, 30)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            answer = client.post(
                "/v1/uploads", files={"file": bytes(content[: rng.randrange(1, len(content))])}
            )
            check(answer)
