"""Take the pictures of the studio: ``python docs/make_screenshots.py``; minutes on a CPU.

A studio with the bundled model makes the videos; Chromium shows them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path(__file__).parent / "images"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
QUALITY = 82
expect.set_options(timeout=600_000)


@contextmanager
def studio(data: Path) -> Iterator[str]:
    """A studio on a free port, as its address."""
    command = [sys.executable, "-m", "vap", "studio", "--no-browser", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - its own command
        [*command, "--data", data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.search(r"http://\S+:\d+", line)
            if found:
                break
        else:
            raise RuntimeError("The studio did not start.")
        yield found[0]
        process.terminate()
        process.communicate()


def choose(page: Page, *effects: str) -> None:
    """Pick effects."""
    for name in effects:
        page.locator(f".effect[data-name={name}]").click()


def make(page: Page) -> None:
    """Press the button, and wait for all videos."""
    page.locator("#make").click()
    expect(page.locator("#results progress").first).to_be_visible()
    expect(page.locator("#results progress")).to_have_count(0)


def prepare(page: Page) -> None:
    """Make a grid, and a video with a report of its reference."""
    choose(page, "underwater")
    page.get_by_role("button", name="Use the example image").click()
    page.get_by_label("Several references").check()
    choose(page, "night", "old-film")
    page.get_by_label("Several images").check()
    page.get_by_role("button", name="Use the example image").click()
    page.get_by_label("every reference with every image").check()
    expect(page.locator("#images li")).to_have_count(2)
    make(page)
    page.get_by_label("Several references").uncheck()
    page.get_by_label("Several images").uncheck()
    choose(page, "underwater")
    page.locator("#settings summary").click()
    page.get_by_label("Check that the reference is used").check()
    page.locator("#settings summary").click()
    make(page)


def take(page: Page, name: str) -> None:
    """A picture of what is seen, in the middle of the videos."""
    page.wait_for_load_state("networkidle")
    for slider in page.locator(".player input[type=range]").all():
        # Not filled: that would scroll to it.
        slider.evaluate("each => { each.value = 0.6; each.dispatchEvent(new Event('input')); }")
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
    picture.save(IMAGES / f"{name}.webp", quality=QUALITY, method=6)


def pictures(browser: Browser, address: str) -> None:
    """Desktop, dark, grid and phone."""
    page = browser.new_page(viewport=DESKTOP, color_scheme="light")
    page.goto(address)
    prepare(page)
    page.reload()
    choose(page, "underwater")
    expect(page.locator(".pair video")).to_have_count(2)
    take(page, "studio")
    page.emulate_media(color_scheme="dark")
    take(page, "studio-dark")
    page.emulate_media(color_scheme="light")
    page.locator("article[data-group]").evaluate("each => each.scrollIntoView()")
    take(page, "studio-grid")
    phone = browser.new_page(viewport=PHONE, device_scale_factor=1.5)
    phone.goto(address)
    expect(phone.locator(".pair video")).to_have_count(2)
    phone.locator("#results article").first.evaluate("each => each.scrollIntoView()")
    take(phone, "studio-phone")


def main() -> None:
    """Make videos, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with (
        tempfile.TemporaryDirectory() as data,
        studio(Path(data)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pictures(browser, address)
        browser.close()


if __name__ == "__main__":
    main()
