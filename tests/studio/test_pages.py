import re
from collections.abc import Iterator
from importlib.resources import files

import pytest
from fastapi.testclient import TestClient

from tests.serving.conftest import LOCAL, settings  # noqa: F401 - a fixture
from vap.serving.api.app import create_app
from vap.serving.settings import Settings
from vap.studio.pages import add_studio

FILES = [file.name for file in (files("vap.studio") / "page").iterdir()]


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:  # noqa: F811
    app = create_app(settings)
    add_studio(app)
    with TestClient(app, base_url=LOCAL) as client:
        yield client


def test_the_page_and_all_that_it_names_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = set(re.findall(r'(?:src|href)="(/[^"]+)"', page.text))
    scripts = [name for name in FILES if name.endswith(".js")]
    for script in scripts:
        text = client.get(f"/studio/{script}").text
        named |= {f"/studio/{name}" for name in re.findall(r'from "\./([^"]+)"', text)}
    assert len(named) >= 6
    for path in named:
        assert client.get(path).status_code == 200, path
    # Each script is used by another, or by the page.
    assert {f"/studio/{name}" for name in scripts} <= named


def test_nothing_is_of_another_host(client: TestClient) -> None:
    shown = ["/", *(f"/studio/{name}" for name in FILES if name != "studio.html")]
    answers = [client.get(path) for path in shown]
    assert {answer.status_code for answer in answers} == {200}
    assert not re.search(r"https?://|//\w+\.\w+", "".join(each.text for each in answers))
    assert "default-src 'self'" in client.get("/").headers["content-security-policy"]


def test_other_names_are_not_files(client: TestClient) -> None:
    assert client.get("/studio/pages.py").status_code == 404
    assert client.get("/studio/..%2f__init__.py").status_code == 404
