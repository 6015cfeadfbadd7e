import re

import pytest
import yaml

from tests.docs.blocks import ROOT, blocks
from vap.evaluation.systems.registry import SYSTEMS
from vap.evaluation.systems.videos_api import VideosApi

CONFIGS = [block for block in blocks("yaml") if block.page == "docs/systems.md"]


@pytest.mark.parametrize("block", CONFIGS, ids=lambda block: str(block.line))
def test_configs_are_valid_and_complete(block, monkeypatch, tmp_path):
    for name in ("KLING_API_KEY", "VIDU_API_KEY"):
        monkeypatch.setenv(name, "k")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/other-model").mkdir(parents=True)
    config = yaml.safe_load(block.code)
    system = SYSTEMS.build({"name": "test", **config}, "docs")
    system.check()
    assert system.kind == config["kind"]


def test_the_table_of_settings_tells_the_defaults():
    page = (ROOT / "docs/systems.md").read_text()
    for name in ("in_flight", "poll_seconds", "timeout_seconds"):
        (default,) = re.findall(rf"^\| `{name}` \| (\d+) \|", page, re.MULTILINE)
        assert VideosApi.model_fields[name].default == float(default)


def test_the_page_lists_every_kind_that_works_elsewhere():
    page = (ROOT / "docs/systems.md").read_text()
    modules = ("kling", "vidu", "videos_api", "folder")
    kinds = [
        kind for kind, place in SYSTEMS.kinds.items() if any(f".{m}:" in place for m in modules)
    ]
    assert len(kinds) == 8
    assert all(f"| `{kind}` |" in page for kind in kinds)
