"""The studio from the first action to the video."""

from types import SimpleNamespace

import pytest
from playwright.sync_api import Page, Route, expect

from tests.serving.conftest import finish
from vap.serving.settings import Settings

pytestmark = pytest.mark.slow


def test_three_actions_make_a_video_that_a_reload_keeps(
    page: Page,
    settings: Settings,
    samples: SimpleNamespace,
) -> None:
    expect(page.locator("#make")).to_be_disabled()
    page.locator(".effect[data-name=burn]").click()
    page.locator("#image").set_input_files(samples.image)
    page.locator("#make").click()
    expect(page.locator(".card .doing")).to_contain_text("Waiting")
    job = finish(settings, samples.video)
    assert job.request.references[0].model_dump() == {"effect": "burn"}
    expect(page.locator(".card .pair video")).to_have_count(2)
    expect(page.locator(".card .pair video").last).to_have_js_property("paused", False)
    late: list[Route] = []
    page.route("**/v1/effects", lambda route: late.append(route))  # noqa: PLW0108 - playwright marks it
    page.reload()
    expect(page.locator(".card .pair video")).to_have_count(2)
    page.get_by_role("button", name="Change settings").click()
    late[0].continue_()  # the effects are listed after the earlier videos
    expect(page.locator(".effect[data-name=burn]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#make")).to_be_enabled()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_an_own_reference_may_be_canceled(
    page: Page,
    samples: SimpleNamespace,
) -> None:
    page.locator("#reference").set_input_files(samples.video)
    page.locator("#image").set_input_files(samples.image)
    expect(page.locator("#references video")).to_be_visible()
    expect(page.locator("#images img")).to_be_visible()
    expect(page.locator("#reference-problem")).to_be_empty()
    page.locator("#make").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".card")).to_contain_text("Canceled")


def test_a_wrong_file_is_explained(
    page: Page,
    samples: SimpleNamespace,
) -> None:
    page.locator("#reference").set_input_files(samples.image)
    expect(page.locator("#reference-problem")).to_contain_text("must be a video")
    expect(page.locator("#make")).to_be_disabled()
