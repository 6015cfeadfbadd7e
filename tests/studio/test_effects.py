"""Effects in the studio: found, and installed from files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.studio.conftest import effect
from vap.effects.effect import read_effect
from vap.effects.library import bundled_folder, export
from vap.effects.manifest import MANIFEST
from vap.serving.settings import Settings

pytestmark = pytest.mark.slow

MakeEffect = Callable[..., Path]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"allow_effect_uploads": True})


@pytest.fixture
def make_effect(tmp_path: Path) -> MakeEffect:
    """Write the file of an effect like *burn*, of another name and for another model."""

    def write(name: str, model: str = "") -> Path:
        folder = tmp_path / name
        shutil.copytree(bundled_folder() / "burn", folder)
        manifest = yaml.safe_load((folder / MANIFEST).read_text(encoding="utf-8"))
        manifest |= {"id": f"me/{name}", "name": name.title(), "category": "weather"}
        manifest["video_as_prompt"]["model"] = model
        (folder / MANIFEST).write_text(yaml.safe_dump(manifest), encoding="utf-8")
        return export(read_effect(folder), tmp_path / f"{name}.zip")

    return write


def drop(page: Page, file: Path, area: str = "#effects-area") -> None:
    data = page.evaluate_handle(
        """([name, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name));
          return data;
        }""",
        [file.name, list(file.read_bytes())],
    )
    page.dispatch_event(area, "drop", {"dataTransfer": data})


def test_a_dropped_effect_is_installed_and_picked(page: Page, make_effect: MakeEffect) -> None:
    drop(page, make_effect("hail"))
    expect(page.locator("#effects-note")).to_contain_text("“Hail” is installed")
    page.get_by_role("button", name="weather").click()
    expect(page.locator(".effect")).to_have_count(1)
    effect(page, "hail").click()
    expect(page.locator("#references li b")).to_have_text(["Hail"])
    page.reload()
    expect(effect(page, "hail")).to_be_visible()


def test_an_effect_may_be_dropped_where_videos_are(page: Page, make_effect: MakeEffect) -> None:
    drop(page, make_effect("hail"), "#drop-reference")
    expect(page.locator("#effects-note")).to_contain_text("“Hail” is installed")
    expect(page.locator("#reference-problem")).to_be_empty()


def test_what_cannot_be_installed_is_explained(
    page: Page, make_effect: MakeEffect, tmp_path: Path, problems: list[str]
) -> None:
    (tmp_path / "broken.zip").write_bytes(b"no archive")
    with page.expect_console_message(lambda message: "400" in message.text):
        drop(page, tmp_path / "broken.zip")
    expect(page.locator("#effects-problem")).to_contain_text("not a valid effect")
    page.locator("#install-effect").set_input_files(make_effect("hail"))
    expect(page.locator("#effects-note")).to_contain_text("installed")
    with page.expect_console_message(lambda message: "409" in message.text):
        page.locator("#install-effect").set_input_files(tmp_path / "hail.zip")
    expect(page.locator("#effects-problem")).to_contain_text("installed already")
    problems.clear()


def test_effects_for_the_model_come_first_and_are_found_by_words(
    page: Page, make_effect: MakeEffect
) -> None:
    expect(page.get_by_label("Find an effect")).to_be_hidden()
    files = [make_effect(f"rain-{number}", model="other") for number in range(5)]
    page.locator("#install-effect").set_input_files(files)
    expect(page.locator(".effect")).to_have_count(17)
    expect(page.locator("#effects > .others ~ .effect")).to_have_count(5)
    page.get_by_label("Find an effect").fill("rain 3")
    expect(page.locator(".effect")).to_have_text(["Rain-3"])
    page.get_by_label("Find an effect").fill("nothing of this name")
    expect(page.locator("#no-effect")).to_be_visible()
