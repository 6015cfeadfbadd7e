"""What cannot run here is at least well-formed, and names settings that exist."""

import yaml

from tests.docs.blocks import ROOT, blocks
from vap.serving.settings import ENVIRONMENT, Settings, read_settings


def test_the_page_shows_settings_that_exist(tmp_path):
    (block,) = (each for each in blocks("yaml") if each.page == "docs/serving.md")
    file = tmp_path / "serve.yaml"
    file.write_text(block.code)
    assert read_settings(file, {}).models == ("wan", "vap-mini")


def test_compose_file_and_image_use_settings_that_exist():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert set(services) == {"service", "worker", "database"}
    names = [*services["worker"]["environment"], *services["service"]["environment"]]
    names += [
        word.partition("=")[0]
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("ENV ")
        for word in line.split()[1:]
    ]
    for name in names:
        assert name.removeprefix(ENVIRONMENT).lower() in Settings.model_fields
