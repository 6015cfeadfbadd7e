"""The studio in a real browser, with a stand-in for the worker."""

import shutil
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Locator, Page, Request, expect, sync_playwright

from tests.serving.conftest import predicted, samples, settings  # noqa: F401 - fixtures
from vap.serving.api.app import create_app
from vap.serving.settings import Settings
from vap.studio.pages import add_studio

expect.set_options(timeout=180_000)  # a busy machine is no failure
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def address(settings: Settings, predicted: object) -> Iterator[str]:  # noqa: F811
    app = create_app(settings)
    add_studio(app)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")  # playwright's loop must end before tests with asyncio
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def problems() -> list[str]:
    """What the console of the page said; a test removes what it expects."""
    return []


@pytest.fixture
def page(address: str, browser: Browser, problems: list[str]) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(180_000)
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def sent(page: Page) -> list[dict[str, Any]]:
    """The bodies of the videos that the page asks for."""
    bodies: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and request.url.endswith("/v1/videos"):
            bodies.append(request.post_data_json)

    page.on("request", note)
    return bodies


def effect(page: Page, name: str) -> Locator:
    return page.locator(f".effect[data-name={name}]")


def add_image(page: Page, samples: SimpleNamespace) -> None:  # noqa: F811
    page.locator("#image").set_input_files(samples.image)
    expect(page.locator("#images li")).to_have_count(1)


def make(page: Page, videos: int = 1) -> None:
    page.locator("#make").click()
    expect(page.locator("#results [data-id]")).to_have_count(videos)
