"""The output side of the studio: grids, controls, reports, and what is done with a video."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.serving.conftest import finish
from tests.studio.conftest import add_image, effect, make
from vap.serving.jobs.job import Job, JobError, ReferenceUse
from vap.serving.jobs.queue import Jobs
from vap.serving.settings import Settings

pytestmark = pytest.mark.slow


def ask_for_a_grid(page: Page, samples: SimpleNamespace) -> None:
    """Two references with one image."""
    effect(page, "burn").click()
    page.get_by_label("Several references").check()
    effect(page, "night").click()
    page.get_by_label("every reference with every image").check()
    add_image(page, samples)
    make(page, videos=2)


def make_one(page: Page, samples: SimpleNamespace, settings: Settings) -> Job:
    """A finished video."""
    effect(page, "burn").click()
    add_image(page, samples)
    make(page)
    return finish(settings, samples.video)


def fail(settings: Settings, message: str) -> None:
    """Do what a worker does that cannot make the next video."""
    jobs = Jobs(settings)
    claim = jobs.claim("worker")
    assert claim is not None
    assert jobs.fail(claim, JobError("failed", message))
    jobs.database.close()


def test_a_grid_is_one_card_that_a_reload_keeps(
    page: Page, samples: SimpleNamespace, settings: Settings
) -> None:
    ask_for_a_grid(page, samples)
    expect(page.locator("article")).to_have_count(1)
    finish(settings, samples.video)
    expect(page.locator(".cell button.video")).to_have_count(1)
    expect(page.locator(".cell .doing")).to_contain_text("Waiting")
    finish(settings, samples.video)
    expect(page.locator(".cell button.video")).to_have_count(2)
    page.reload()
    expect(page.locator("article")).to_have_count(1)
    expect(page.locator("article tbody tr")).to_have_count(2)
    expect(page.locator("article thead th")).to_have_count(1)
    expect(page.locator("article .player")).to_have_count(1)
    page.locator(".cell button.video").first.click()
    viewer = page.get_by_role("dialog")
    expect(viewer.locator(".pair video")).to_have_count(2)
    viewer.get_by_role("button", name="Close").click()
    expect(viewer).to_have_count(0)


def test_a_grid_is_canceled_and_deleted_at_once(page: Page, samples: SimpleNamespace) -> None:
    ask_for_a_grid(page, samples)
    page.get_by_role("button", name="Cancel all").click()
    expect(page.locator(".cell .canceled")).to_have_count(2)
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("article")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_a_cell_that_failed_says_why_and_is_tried_again(
    page: Page, samples: SimpleNamespace, settings: Settings
) -> None:
    ask_for_a_grid(page, samples)
    fail(settings, "The machine was too small.")
    expect(page.locator(".cell .failed")).to_have_text("The machine was too small.")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".cell .doing")).to_have_count(2)
    expect(page.locator("article")).to_have_count(1)


def test_variations_are_a_group_of_other_seeds(
    page: Page, samples: SimpleNamespace, settings: Settings
) -> None:
    make_one(page, samples, settings)
    page.get_by_role("button", name="Four variations").click()
    expect(page.locator("article[data-group] .cell")).to_have_count(4)
    expect(page.locator("article[data-group] h3")).to_have_text("Burn")
    seeds = {finish(settings, samples.video).seed for _ in range(4)}
    expect(page.locator(".cell button.video")).to_have_count(4)
    assert len(seeds) == 4


def test_controls_pause_and_place_reference_and_result_together(
    page: Page, samples: SimpleNamespace, settings: Settings
) -> None:
    make_one(page, samples, settings)
    reference, result = page.locator(".pair video").first, page.locator(".pair video").last
    expect(result).to_have_js_property("paused", False)
    page.get_by_role("slider", name="Place in the videos").fill("0.5")
    for video in (reference, result):
        expect(video).to_have_js_property("paused", True)
        share = video.evaluate("each => each.currentTime / each.duration")
        assert share == pytest.approx(0.5, abs=0.02)
    page.get_by_role("button", name="Play").click()
    expect(result).to_have_js_property("paused", False)
    page.get_by_role("button", name="Pause").click()
    expect(reference).to_have_js_property("paused", True)


def test_a_finished_video_is_asked_whether_its_reference_is_used(
    page: Page, samples: SimpleNamespace, settings: Settings
) -> None:
    first = make_one(page, samples, settings)
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Is my reference used?").click()
    use = ReferenceUse(0.62, "used", "The result follows its reference.")
    expect(page.locator(".card")).to_have_count(2)
    checked = finish(settings, samples.video, reference_use=use)
    assert checked.request.check_reference
    assert checked.seed == first.seed
    report = page.locator(".report")
    expect(report).to_contain_text("The reference is used")
    expect(report).to_contain_text("62 %")
    expect(report).to_contain_text(use.message)


def test_a_result_becomes_a_reference(
    page: Page, samples: SimpleNamespace, settings: Settings
) -> None:
    job = make_one(page, samples, settings)
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Use as a reference").click()
    expect(page.locator("#references li b")).to_have_text([f"{job.id}.mp4"])


def test_videos_are_found_by_their_words(page: Page, samples: SimpleNamespace) -> None:
    add_image(page, samples)
    for number, name in enumerate(["burn", "night", "burn", "sepia"], start=1):
        effect(page, name).click()
        page.locator("#make").click()
        expect(page.locator("#results [data-id]")).to_have_count(number)
    page.get_by_label("Find a video").fill("burn")
    expect(page.locator("article:visible")).to_have_count(2)
    page.get_by_label("Find a video").fill("burn nothing")
    expect(page.locator("#nothing-found")).to_be_visible()
    page.get_by_label("Find a video").fill("")
    expect(page.locator("article:visible")).to_have_count(4)


def test_a_video_that_is_gone_leaves_the_others_of_its_grid(
    page: Page, samples: SimpleNamespace, settings: Settings, problems: list[str]
) -> None:
    ask_for_a_grid(page, samples)
    first = finish(settings, samples.video)
    expect(page.locator(".cell button.video")).to_have_count(1)
    gone = {"error": {"message": "This video is gone.", "code": "not_found"}}
    path = f"**/v1/videos/{first.id}/content"
    page.route(path, lambda route: route.fulfill(status=404, json=gone))
    page.reload()
    expect(page.locator(".cell .failed")).to_have_text("This video is gone.")
    finish(settings, samples.video)
    expect(page.locator(".cell button.video")).to_have_count(1)
    problems.clear()  # the browser tells of the missing file


def test_an_animated_image_as_reference_does_not_stop_its_result(
    page: Page, samples: SimpleNamespace, settings: Settings, tmp_path: Path
) -> None:
    frames = [Image.new("RGB", (48, 32), color) for color in ("red", "green", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=200)
    page.locator("#reference").set_input_files(tmp_path / "a.gif")
    expect(page.locator("#references li")).to_have_count(1)
    add_image(page, samples)
    make(page)
    finish(settings, samples.video)
    expect(page.locator(".pair img")).to_have_count(1)
    expect(page.locator(".pair video")).to_have_js_property("paused", False)
