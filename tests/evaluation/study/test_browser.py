"""Two raters in a real browser."""

import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Page, expect, sync_playwright

from vap.evaluation.study.open_study import open_study
from vap.evaluation.study.server import make_app

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture
def study(run_folder: SimpleNamespace, tmp_path: Any) -> Iterator[tuple[str, Any]]:
    """Address and study of a server on loopback."""
    videos = [replace(row, file=str(run_folder.folder / row.file)) for row in run_folder.videos]
    run = SimpleNamespace(**{**vars(run_folder), "folder": tmp_path, "videos": videos})
    opened = open_study(run)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(opened), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/", opened
    server.should_exit = True
    thread.join()


def answer_by_keys(page: Page) -> None:
    expect(page.locator("#reference")).to_have_js_property("paused", False)
    page.keyboard.press("1")
    page.keyboard.press("Shift+2")
    page.keyboard.press("Enter")


def test_one_rater_uses_the_keys_and_one_a_phone(study: tuple[str, Any]) -> None:
    address, opened = study
    hosts, problems = set(), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        desktop = browser.new_page()
        desktop.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        desktop.on("console", lambda message: problems.append(message.text))
        desktop.goto(address)
        expect(desktop.locator("#count")).to_have_text("1 of 10")
        answer_by_keys(desktop)
        expect(desktop.locator("#count")).to_have_text("2 of 10")
        desktop.reload()  # goes on where it was
        for number in range(2, 11):
            expect(desktop.locator("#count")).to_have_text(f"{number} of 10")
            answer_by_keys(desktop)
        expect(desktop.locator("#end")).to_be_visible()

        phone = browser.new_context(
            viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
        ).new_page()
        phone.goto(address)
        expect(phone.locator("#next")).to_be_disabled()
        phone.get_by_role("button", name="Video 2: Follows best").tap()
        phone.get_by_role("button", name="None looks good").tap()
        phone.locator("#next").tap()
        expect(phone.locator("#count")).to_have_text("2 of 10")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390
        browser.close()
    assert hosts == {address.split("/")[2]}
    assert problems == []
    answers = opened.store.answers()
    by_rater: dict[str, list[Any]] = {}
    for each in answers:
        by_rater.setdefault(each.rater, []).append(each)
    assert sorted(map(len, by_rater.values())) == [1, 10]
    for each in max(by_rater.values(), key=len):
        assert (each.semantics, each.quality) == each.shown[:2]
    [alone] = min(by_rater.values(), key=len)
    assert (alone.semantics, alone.quality) == (alone.shown[1], "")
