"""Captions in the studio: written by the service, edited in the form."""

from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.studio.conftest import add_image, effect, make

pytestmark = pytest.mark.slow


def test_written_captions_are_edited_and_sent(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    asked: list[dict[str, Any]] = []

    def write(route: Route) -> None:
        asked.append(route.request.post_data_json)
        route.fulfill(json={"reference_prompt": "a car", "prompt": "an owl", "writer": "somebody"})

    page.route("**/v1/captions", write)
    page.locator("#reference").set_input_files(samples.video)
    expect(page.locator("#references li")).to_have_count(1)
    page.locator("#captions summary").click()
    expect(page.get_by_role("button", name="Write the captions")).to_be_disabled()
    add_image(page, samples)
    page.get_by_role("button", name="Write the captions").click()
    expect(page.get_by_label("Caption of the reference")).to_have_value("a car")
    expect(page.get_by_label("Caption of the video")).to_have_value("an owl")
    page.get_by_label("Caption of the video").fill("a barn owl")
    make(page)
    assert (sent[0]["prompt"], sent[0]["reference_prompts"]) == ("a barn owl", ["a car"])
    assert asked[0].keys() == {"reference", "image", "model"}


def test_a_service_without_a_writer_says_how_to_get_one(
    page: Page, samples: SimpleNamespace, problems: list[str]
) -> None:
    effect(page, "burn").click()
    add_image(page, samples)
    page.locator("#captions summary").click()
    with page.expect_console_message(lambda message: "409" in message.text):
        page.get_by_role("button", name="Write the captions").click()
    problems.clear()
    expect(page.locator("#captions-note")).to_contain_text("--captioner")
    expect(page.locator("#captions-problem")).to_be_empty()


def test_a_caption_of_one_reference_leaves_effects_their_own(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    effect(page, "burn").click()
    page.get_by_label("Several references").check()
    page.locator("#reference").set_input_files(samples.video)
    expect(page.locator("#references li")).to_have_count(2)
    page.locator("#captions summary").click()
    page.get_by_label("Caption of the reference 2: video.mp4").fill("a lamp")
    add_image(page, samples)
    make(page)
    assert sent[0]["reference_prompts"] == ["a red snail in a room with teal wallpaper", "a lamp"]
