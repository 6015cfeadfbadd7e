from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import LOCAL
from vap.serving.api.app import create_app
from vap.serving.api.gate import HEADERS
from vap.serving.jobs.database import Database
from vap.serving.keys import Keys
from vap.serving.settings import Settings

PLACES = ["/v1/videos", "/v1/uploads", "/v1/prompts", "/v1/effects", "/v1/models", "/metrics"]


@pytest.fixture
def keys(settings: Settings) -> Iterator[Keys]:
    """The keys of a service, none yet."""
    database = Database(settings.database_url)
    yield Keys(database)
    database.close()


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_answers_have_headers_that_protect_pages(client: TestClient) -> None:
    for path in ("/v1/videos", "/health", "/docs", "/nothing"):
        headers = client.get(path).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
    assert client.get("/v1/videos").headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in client.get("/v1/videos").headers


def test_without_a_key_there_must_be_a_loopback_address(settings: Settings, keys: Keys) -> None:
    open_to_all = settings.model_copy(update={"host": "192.0.2.1"})
    with pytest.raises(ValueError, match="key"):
        create_app(open_to_all)
    _, text = keys.create("one")
    with TestClient(create_app(open_to_all)) as client:
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers=bearer(text)).status_code == 200


def test_once_there_is_a_key_all_need_one(client: TestClient) -> None:
    keys: Keys = client.app.state.service.keys  # type: ignore[attr-defined]
    assert client.get("/v1/models").status_code == 200
    key, text = keys.create("one")
    for place in PLACES:
        assert client.get(place).status_code == 401
        assert client.get(place, headers=bearer("vap_0_0")).status_code == 401
        assert client.get(place, headers={"Authorization": text}).status_code == 401
        assert client.get(place, headers=bearer(text)).status_code == 200
    assert client.get("/health").status_code == 200
    answer = client.get("/v1/models")
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"
    keys.revoke(key.id)
    assert client.get("/v1/models", headers=bearer(text)).status_code == 401


def test_keys_see_only_what_is_theirs(client: TestClient, keys: Keys, samples: Any) -> None:
    mine, other = (bearer(keys.create(name)[1]) for name in ("mine", "other"))
    image = {"input_reference": samples.image.read_bytes()}
    video = client.post("/v1/videos", files=image, headers=mine).json()["id"]
    [upload] = client.get("/v1/uploads", headers=mine).json()["data"]
    for method, path in [
        ("GET", f"/v1/videos/{video}"),
        ("GET", f"/v1/videos/{video}/content"),
        ("GET", f"/v1/videos/{video}/events"),
        ("POST", f"/v1/videos/{video}/cancel"),
        ("DELETE", f"/v1/videos/{video}"),
        ("GET", f"/v1/uploads/{upload['id']}"),
        ("GET", f"/v1/uploads/{upload['id']}/content"),
        ("DELETE", f"/v1/uploads/{upload['id']}"),
    ]:
        assert client.request(method, path, headers=other).status_code == 404, path
    assert client.get("/v1/videos", headers=other).json()["data"] == []
    asked = {"image": upload["id"]}
    assert client.post("/v1/videos", json=asked, headers=other).status_code == 400
    assert client.get(f"/v1/videos/{video}", headers=mine).json()["status"] == "queued"


def test_limits_of_a_key_are_kept(client: TestClient, keys: Keys, samples: Any) -> None:
    first = bearer(keys.create("first", requests_per_minute=2)[1])
    codes = [client.get("/v1/models", headers=first).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert int(client.get("/v1/models", headers=first).headers["retry-after"]) > 0
    second = bearer(keys.create("second", max_queued=1, priority=4)[1])
    image = client.post("/v1/uploads", files={"file": samples.image.read_bytes()}, headers=second)
    asked = {"image": image.json()["id"]}
    codes = [client.post("/v1/videos", json=asked, headers=second).status_code for _ in range(2)]
    assert codes == [200, 429]


def test_other_names_of_this_machine_are_refused(client: TestClient, settings: Settings) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "localhost@evil.example"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 403, host
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200, host
    named = settings.model_copy(update={"allowed_hosts": ("videos.example",)})
    with TestClient(create_app(named), base_url="http://videos.example") as client_:
        assert client_.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_change_nothing(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/v1/videos", data={"prompt": "x"}, headers=headers)
    assert answer.status_code == 403
    assert client.get("/v1/models", headers=headers).status_code == 200
    own = {"Origin": LOCAL, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/videos", data={"prompt": "x"}, headers=own).status_code == 400


def test_sites_can_be_allowed(settings: Settings) -> None:
    site = "https://pages.example"
    shared = settings.model_copy(update={"cors_origins": (site,)})
    with TestClient(create_app(shared), base_url=LOCAL) as client:
        asked = {"Origin": site, "Access-Control-Request-Method": "POST"}
        allowed = client.options("/v1/videos", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == site
        assert client.post("/v1/videos", json={}, headers={"Origin": site}).status_code == 400
        asked["Origin"] = "https://evil.example"
        refused = client.options("/v1/videos", headers=asked)
        assert "access-control-allow-origin" not in refused.headers


def test_large_bodies_are_refused_before_and_while_they_come(
    client: TestClient, settings: Settings, tmp_path: Path
) -> None:
    large = b"x" * (settings.upload_bytes + 2 * 1024**2)
    assert client.post("/v1/uploads", files={"file": large}).status_code == 413

    def chunks() -> Iterator[bytes]:  # without a length
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        for _ in range(50):
            yield b"x" * 100_000

    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    assert client.post("/v1/uploads", content=chunks(), headers=kind).status_code == 413
    assert client.post("/v1/videos", content=b"[" * 17 * 1024**2).status_code == 413
