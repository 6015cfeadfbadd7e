"""Models, experts and sizes in the studio."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from safetensors.numpy import save_file

from tests.studio.conftest import add_image, effect, make
from vap.serving.settings import ExpertFile, Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """A service with two models, and an expert for the first."""
    file = tmp_path / "melt.safetensors"
    save_file({"x": np.zeros(1, np.float32)}, file, {"format": "vap-expert", "depths": "[1]"})
    more = {"models": ("vap-mini", "wan"), "experts": {"melt": ExpertFile(file=file)}}
    return settings.model_copy(update=more)


def test_an_expert_is_chosen_where_there_are_some(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    effect(page, "burn").click()
    add_image(page, samples)
    page.locator("#settings summary").click()
    page.locator("#expert").select_option("melt")
    make(page)
    assert (sent[0]["model"], sent[0]["expert"]) == ("vap-mini", "melt")
    page.locator("#model").select_option("wan")
    expect(page.locator("#expert")).to_be_hidden()


def test_sizes_and_effects_are_those_of_the_model(
    page: Page, samples: SimpleNamespace, sent: list[dict[str, Any]]
) -> None:
    expect(page.locator("#effects > .others")).to_have_count(0)
    page.locator("#settings summary").click()
    page.locator("#model").select_option("wan")
    expect(page.locator("#effects > .others ~ .effect")).to_have_count(12)
    options = page.locator("#size").locator("option")
    values = [option.get_attribute("value") for option in options.all()]
    assert values == ["", "480x832", "624x624", "own"]
    page.locator("#size").select_option("480x832")
    page.locator("#reference").set_input_files(samples.video)
    expect(page.locator(".reads")).to_contain_text("49 frames")
    add_image(page, samples)
    make(page)
    assert (sent[0]["model"], sent[0]["size"]) == ("wan", "480x832")
    effect(page, "burn").click()  # brings its model, whose sizes are others
    expect(page.locator("#model")).to_have_value("vap-mini")
    expect(page.locator("#size")).to_have_value("")
