from pathlib import Path

import pytest

from tests.cli.running import refusal, vap
from vap.cli import serve


@pytest.mark.parametrize("command", ["serve", "studio"])
def test_options_are_settings(command, monkeypatch, here):
    found = []
    monkeypatch.setattr(serve, "_listen", lambda settings, **_: found.append(settings))
    options = ("--models", "vap-mini,wan", "--expert", "melt=a.st", "--expert", "fire=b.st")
    vap(command, *options, "--port", "0")
    (settings,) = found
    assert settings.models == ("vap-mini", "wan")
    assert settings.experts_of("vap-mini") == {"melt": Path("a.st"), "fire": Path("b.st")}


def test_experts_of_the_file_stay_without_the_option(monkeypatch, here):
    (here / "serve.yaml").write_text("experts: {melt: a.st}")
    found = []
    monkeypatch.setattr(serve, "_listen", lambda settings, **_: found.append(settings))
    vap("serve", "--config", "serve.yaml")
    assert found[0].experts_of("vap-mini") == {"melt": Path("a.st")}


def test_an_expert_without_a_file_is_refused(here):
    assert "NAME=FILE" in refusal("serve", "--expert", "melt")


def test_the_studio_installs_effects_unless_it_is_told_otherwise(monkeypatch, here):
    found = []
    monkeypatch.setattr(serve, "_listen", lambda settings, **_: found.append(settings))
    (here / "none.yaml").write_text("allow_effect_uploads: false")
    (here / "open.yaml").write_text("host: 0.0.0.0")
    vap("studio", "--captioner", "gemini")
    vap("studio", "--config", "none.yaml")
    vap("studio", "--config", "open.yaml")
    vap("serve", "--captioner", "gemini")
    assert [each.allow_effect_uploads for each in found] == [True, False, False, False]
    assert [each.captioner for each in found] == ["gemini", None, None, "gemini"]
