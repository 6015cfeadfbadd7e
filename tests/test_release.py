"""Workflows and cards are what their readers parse, and name what exists."""

import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

import vap

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}


def steps(workflow):
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_commands_of_workflows_exist(workflow):
    for step in steps(workflow):
        command = step.get("run", "")
        assert {*re.findall(r"\bmake ([a-z-]+)", command)} <= TARGETS
        for file in re.findall(r"(?<!\S)(\.?[\w-]+/\w+)(?!\S)", command):
            assert (ROOT / file).exists(), file


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_have_versions(workflow):
    actions = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert actions
    assert [name for name in actions if not re.search(r"@(v\d+|release/v\d+)$", name)] == []


def test_only_the_publishing_job_may_get_an_identity():
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    allowed = {name: job.get("permissions", {}) for name, job in release["jobs"].items()}
    assert release["permissions"] == {"contents": "read"}
    assert [name for name, what in allowed.items() if "id-token" in what] == ["publish"]


def test_one_version_everywhere():
    project = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.+)"', project, re.MULTILINE)[1] == vap.__version__
    assert f"## {vap.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["vap-mini", "vap-synth"])
def test_cards_have_valid_metadata(name):
    kind = DatasetCard if name == "vap-synth" else ModelCard
    data = kind.load(ROOT / "cards" / f"{name}.md").data
    assert data.license == "apache-2.0"
    assert "video-as-prompt" in data.tags
