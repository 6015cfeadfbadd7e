"""The input side of the studio: what the form sends, and what it explains."""

from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.serving.conftest import finish
from tests.studio.conftest import add_image, effect, make
from vap.serving.settings import Settings

pytestmark = pytest.mark.slow


def test_one_reference_takes_the_place_of_another_unless_several_are_asked_for(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    effect(page, "burn").click()
    effect(page, "freeze").click()
    expect(page.locator("#references li b")).to_have_text(["Freeze"])
    expect(effect(page, "burn")).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Several references").check()
    page.locator("#reference").set_input_files(samples.video)
    expect(page.locator("#references li b")).to_have_text(["Freeze", "video.mp4"])
    effect(page, "burn").click()
    page.get_by_role("button", name="Remove video.mp4").click()
    expect(page.locator("#references li b")).to_have_text(["Freeze", "Burn"])
    add_image(page, samples)
    make(page)
    assert sent[0]["references"] == [{"effect": "freeze"}, {"effect": "burn"}]
    assert "group" not in sent[0]
    page.get_by_label("Several references").uncheck()
    expect(page.locator("#references li b")).to_have_text(["Burn"])


def test_a_grid_makes_every_reference_with_every_image(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    effect(page, "burn").click()
    page.get_by_label("Several references").check()
    effect(page, "night").click()
    page.get_by_label("every reference with every image").check()
    add_image(page, samples)
    page.get_by_label("Several images").check()
    page.get_by_role("button", name="Use the example image").click()
    expect(page.locator("#images li")).to_have_count(2)
    expect(page.locator("#make")).to_have_text("Make 4 videos")
    expect(page.locator("#next")).to_contain_text("4 videos")
    expect(page.locator("#estimate")).to_contain_text("36 s for 4")
    make(page, videos=4)
    cells = [(body["references"][0]["effect"], body["image"]) for body in sent]
    assert len(set(cells)) == len(cells) == 4
    assert {len(body["references"]) for body in sent} == {1}
    assert len({body["group"] for body in sent}) == len({body["seed"] for body in sent}) == 1
    page.get_by_label("All references in one video").check()
    expect(page.locator("#make")).to_have_text("Make 2 videos")


def test_a_reference_is_trimmed_with_the_keyboard(
    page: Page, samples: SimpleNamespace, settings: Settings, sent: list[dict[str, Any]]
) -> None:
    page.locator("#reference").set_input_files(samples.video)
    page.get_by_text("Trim", exact=True).click()
    expect(page.locator(".reads")).to_contain_text("The whole video")
    expect(page.locator(".reads")).to_contain_text("17 frames")
    start = page.get_by_role("slider", name="Start")
    start.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(start).to_have_attribute("aria-valuetext", "0.10 seconds")
    end = page.get_by_role("slider", name="End")
    end.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    start.focus()
    page.keyboard.press("End")  # a handle stops before the other
    expect(page.locator(".reads")).to_contain_text("0.10 of")
    add_image(page, samples)
    make(page)
    [reference] = sent[0]["references"]
    assert reference["end"] == pytest.approx(reference["start"] + 0.1)
    finish(settings, samples.video)
    page.get_by_role("button", name="Remove video.mp4").click()
    page.get_by_role("button", name="Change settings").click()
    expect(start).to_have_value(str(reference["start"]))
    expect(end).to_have_value(str(reference["end"]))


def test_the_estimate_is_that_of_the_last_settings(page: Page) -> None:
    held: list[Route] = []
    known = {"memory_bytes": None, "basis": "measured"}

    def newest_first(route: Route) -> None:
        held.append(route)
        if len(held) == 2:
            held[1].fulfill(json={"seconds": 200, **known})
            held[0].fulfill(json={"seconds": 5, **known})

    page.route("**/v1/estimates", newest_first)
    with page.expect_request("**/v1/estimates"):
        effect(page, "burn").click()
    expect(page.locator("#estimate")).to_contain_text("Estimating")
    page.locator("#settings summary").click()

    def is_old(request: Request) -> bool:
        return "estimates" in request.url and "num_inference_steps" not in (request.post_data or "")

    with page.expect_event("requestfinished", is_old):
        page.get_by_label("Steps").fill("3")
    page.evaluate("fetch('/health')")  # the page has seen the old answer
    expect(page.locator("#estimate")).to_contain_text("3 min, as earlier videos")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"seconds": None, "memory_bytes": None, "basis": "unknown"}, "not known"),
        (
            {
                "seconds": 9,
                "memory_bytes": 40e9,
                "memory_available_bytes": 24e9,
                "fits": False,
                "basis": "predicted",
            },
            "needs 40.0 GB",
        ),
    ],
)
def test_an_estimate_says_what_it_does_not_know(
    page: Page, answer: dict[str, Any], text: str
) -> None:
    page.route("**/v1/estimates", lambda route: route.fulfill(json=answer))
    effect(page, "burn").click()
    expect(page.locator("#estimate")).to_contain_text(text)


def test_settings_are_sent_and_wrong_ones_explained(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    effect(page, "burn").click()
    add_image(page, samples)
    page.locator("#settings summary").click()
    expect(page.get_by_label("Expert")).to_be_hidden()
    page.get_by_label("Size").select_option("own")
    expect(page.get_by_label("Width")).to_have_value("96")
    page.get_by_label("Width").fill("100")
    page.get_by_label("Steps").fill("0")
    page.locator("#make").click()
    expect(page.get_by_label("Width")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#width-problem")).to_contain_text("multiple of 16")
    expect(page.locator("#num_inference_steps-problem")).to_contain_text("from 1 to 1000")
    expect(page.get_by_label("Steps")).to_be_focused()
    page.get_by_label("Size").select_option(label="Portrait: 64x96")
    page.get_by_label("Steps").fill("2")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Speed").select_option("fast")
    page.get_by_label("Strength").fill("0.5")
    page.get_by_label("Reference guidance").fill("1.5")
    page.get_by_label("Check that the reference is used").check()
    make(page)
    [body] = sent
    assert {name: body[name] for name in body.keys() - {"image", "references"}} == {
        "prompt": "",
        "model": "vap-mini",
        "size": "64x96",
        "num_inference_steps": 2,
        "seed": 7,
        "profile": "fast",
        "strength": 0.5,
        "reference_guidance_scale": 1.5,
        "check_reference": True,
    }


def test_a_reload_keeps_the_form(page: Page, samples: SimpleNamespace) -> None:
    effect(page, "burn").click()
    page.get_by_label("Several references").check()
    page.locator("#reference").set_input_files(samples.video)
    expect(page.locator("#references li")).to_have_count(2)
    page.locator(".trim > summary").click()
    page.get_by_role("slider", name="Start").fill("0.2")
    page.get_by_label("every reference with every image").check()
    add_image(page, samples)
    page.locator("#captions > summary").click()
    page.get_by_label("Caption of the reference 2: video.mp4").fill("a lamp")
    page.locator("#settings > summary").click()
    page.get_by_label("Steps").fill("3")
    page.reload()
    expect(page.locator("#make")).to_have_text("Make 2 videos")
    expect(page.locator("#references li b")).to_have_text(["Burn", "video.mp4"])
    expect(page.get_by_role("slider", name="Start")).to_have_value("0.2")
    expect(page.locator("#num_inference_steps")).to_have_value("3")
    expect(page.locator("#reference-captions textarea").last).to_have_value("a lamp")


def test_what_is_chosen_while_a_form_returns_wins(page: Page, samples: SimpleNamespace) -> None:
    page.locator("#reference").set_input_files(samples.video)
    expect(page.locator("#references li")).to_have_count(1)
    add_image(page, samples)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)
        if len(held) == 2:  # image and reference are asked for: now choose another
            effect(page, "night").dispatch_event("click")
            for each in held:
                each.continue_()

    page.route("**/v1/uploads/*", hold)
    page.reload()
    expect(page.locator("#images li")).to_have_count(1)
    expect(page.locator("#references li b")).to_have_text(["Night falls"])
