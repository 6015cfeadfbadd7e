"""The studio by keyboard alone, on a phone, and with less motion."""

from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.studio.conftest import effect

pytestmark = pytest.mark.slow


def test_the_keyboard_alone_makes_a_video(page: Page, sent: list[dict[str, Any]]) -> None:
    effect(page, "burn").focus()
    page.keyboard.press("Enter")
    expect(effect(page, "burn")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Remove Burn").focus()
    page.keyboard.press("Space")
    expect(page.locator("#reference")).to_be_focused()  # not lost with the button
    effect(page, "night").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Use the example image").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#make")).to_be_enabled()
    page.locator("#settings summary").focus()
    page.keyboard.press("Enter")
    page.get_by_role("slider", name="Strength").focus()
    page.keyboard.press("ArrowLeft")
    page.locator("#make").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(1)
    assert (sent[0]["references"], sent[0]["strength"]) == ([{"effect": "night"}], 0.95)


def test_a_phone_needs_no_sideways_scrolling(page: Page, samples: SimpleNamespace) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#reference").set_input_files(samples.video)
    page.locator("#image").set_input_files(samples.image)
    expect(page.locator("#make")).to_be_enabled()
    for part in (".trim", "#captions", "#settings"):
        page.locator(f"{part} > summary").click()
    page.get_by_label("Size").select_option("own")
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_videos_wait_where_less_motion_is_asked_for(page: Page, samples: SimpleNamespace) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    expect(page.locator(".effect video")).to_have_count(12)
    page.locator("#reference").set_input_files(samples.video)
    page.locator(".trim > summary").click()
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    playing = "[...document.querySelectorAll('video')].filter((each) => !each.paused).length"
    assert page.evaluate(playing) == 0
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_an_animated_image_is_trimmed_without_a_play_head(
    page: Page, samples: SimpleNamespace
) -> None:
    still = Image.open(samples.image)
    moving = samples.image.with_name("moving.gif")
    still.save(moving, save_all=True, append_images=[still.rotate(90)] * 9, duration=100)
    page.locator("#reference").set_input_files(moving)
    expect(page.locator("#references img")).to_be_visible()
    page.locator(".trim > summary").click()
    expect(page.get_by_role("slider", name="Start")).to_be_visible()
    expect(page.get_by_role("slider", name="Position")).to_be_hidden()
