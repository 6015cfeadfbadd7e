import re
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient

from tests.evaluation.study.conftest import SYSTEMS
from vap.evaluation.study.open_study import open_study, stored_answers
from vap.evaluation.study.server import make_app


@pytest.fixture
def client(run_folder: SimpleNamespace) -> TestClient:
    return TestClient(make_app(open_study(run_folder)))


def rater_of(client: TestClient) -> str:
    answer = client.get("/", follow_redirects=False)
    assert answer.status_code == 303
    return answer.headers["location"].rpartition("/")[2]


def test_a_rater_sees_every_case_and_no_name(client: TestClient) -> None:
    rater = rater_of(client)
    assert client.get(f"/rate/{rater}").status_code == 200
    answer = client.get(f"/api/{rater}")
    items = answer.json()["items"]
    assert len(items) == 8 + 2  # and two attention checks
    assert all(len(item["videos"]) == len(SYSTEMS) for item in items)
    assert not any(name in answer.text for name in (*SYSTEMS, "case-", "melt"))
    for token in (items[0]["reference"], *items[0]["videos"]):
        media = client.get(f"/media/{token}", headers={"Range": "bytes=0-9"})
        assert (media.status_code, media.headers["content-type"]) == (206, "video/mp4")
        assert not any(name in str(media.headers) for name in SYSTEMS)
    assert client.get(f"/media/{items[0]['image']}").headers["content-type"] == "image/png"


def test_the_order_is_of_the_rater_and_stays(client: TestClient) -> None:
    one, other = rater_of(client), rater_of(client)
    items = client.get(f"/api/{one}").json()
    assert items == client.get(f"/api/{one}").json()
    theirs = client.get(f"/api/{other}").json()
    assert items != theirs
    by_item = {item["item"]: set(item["videos"]) for item in items["items"]}
    assert by_item == {item["item"]: set(item["videos"]) for item in theirs["items"]}


def test_picks_are_saved_under_the_system_and_may_be_changed(
    client: TestClient, run_folder: SimpleNamespace
) -> None:
    rater = rater_of(client)
    item = client.get(f"/api/{rater}").json()["items"][0]
    place = f"/api/{rater}/{item['item']}"
    for first, second in ((item["videos"][0], item["videos"][1]), (item["videos"][2], "")):
        answer = client.put(place, json={"semantics": first, "quality": second, "seconds": 3})
        assert answer.status_code == 204
    again = client.get(f"/api/{rater}").json()["items"][0]
    assert again["picks"] == {"semantics": item["videos"][2], "quality": ""}
    [answer] = [each for each in stored_answers(run_folder.folder) if each.rater == rater]
    assert answer.semantics == answer.shown[2]
    assert set(answer.shown) == set(SYSTEMS)
    assert (answer.quality, answer.seconds) == ("", 3)


@pytest.mark.parametrize(
    ("picks", "status"),
    [
        ({"semantics": "nothing", "quality": ""}, 404),
        ({"semantics": ""}, 422),
        ({"semantics": "", "quality": "", "name": "me"}, 422),
        ({"semantics": "", "quality": "", "seconds": -1}, 422),
    ],
)
def test_picks_that_cannot_be_are_refused(
    client: TestClient, picks: dict[str, object], status: int
) -> None:
    rater = rater_of(client)
    item = client.get(f"/api/{rater}").json()["items"][0]["item"]
    assert client.put(f"/api/{rater}/{item}", json=picks).status_code == status


@pytest.mark.parametrize(
    "path", ["/rate/nobody", "/api/nobody", "/media/x", "/page/server.py", "/media/..%2f..%2fx"]
)
def test_what_there_is_not_is_not_found(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_page_asks_no_other_host(client: TestClient) -> None:
    page = client.get(f"/rate/{rater_of(client)}")
    parts = [page.text, *(client.get(f"/page/study.{kind}").text for kind in ("js", "css"))]
    assert not re.search(r"https?://|//\w+\.\w+", "".join(parts))
    assert page.headers["content-security-policy"].startswith("default-src 'self'")


def test_a_study_needs_two_systems(run_folder: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="two systems"):
        open_study(run_folder, ["ours"])
    with pytest.raises(ValueError, match="our"):
        open_study(run_folder, ["our", "stock"])
