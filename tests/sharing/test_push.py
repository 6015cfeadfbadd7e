"""``vap push`` to a server that speaks as the Hub, and back from there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sharing.hub import TOKEN, serving
from vap.effects.library import bundled_folder
from vap.loading.pipeline import load_transformer


@pytest.fixture
def hub():
    with serving() as hub:
        yield hub


@pytest.fixture
def vap(hub, tmp_path):
    """Runs ``vap`` as a process that knows only this server."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "hf"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "NO_PROXY": "127.0.0.1",
    }

    def run(*arguments, code=0, token=TOKEN):
        done = subprocess.run(
            [sys.executable, "-m", "vap", *map(str, arguments)],
            env={**environment, "HF_TOKEN": token}, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.slow
def test_an_effect_goes_to_the_hub_and_comes_back(hub, vap):
    burn = bundled_folder() / "burn"
    pushed = json.loads(vap("push", burn, "me/burn", "--yes", "--json"))
    assert hub.private == {"me/burn": True}
    assert {name: len(content) for name, content in hub.files["me/burn"].items()} == pushed["files"]
    assert hub.files["me/burn"]["reference.mp4"] == (burn / "reference.mp4").read_bytes()
    hub.files["me/burn"]["weights.pkl"] = b"never asked for"
    installed = json.loads(vap("effect", "install", "me/burn", "--json"))
    files = sorted(file.name for file in Path(installed["folder"]).iterdir())
    assert files == ["image.png", "manifest.yaml", "reference.mp4"]


@pytest.mark.slow
def test_an_expert_goes_to_the_hub_and_is_used_from_there(hub, vap, tmp_path):
    expert = tmp_path / "expert.safetensors"
    load_transformer("vap-mini").save_expert(expert)
    vap("push", expert, "me/other", "--license", "apache-2.0", "--public", "--yes")
    assert hub.private == {"me/other": False}
    assert hub.files["me/other"].keys() == {"README.md", "expert.safetensors"}
    made = tmp_path / "made.mp4"
    vap("generate", "--demo", "--steps", "1", "--expert", "me/other", "-o", made)
    assert made.is_file()
    vap("generate", "--demo", "--expert", "me/nothing", "-o", made, code=2)
    vap("push", expert, "me/other", "--license", "apache-2.0", "--yes", code=2)  # it is public


@pytest.mark.slow
def test_nothing_is_uploaded_without_token_or_consent(hub, vap):
    burn = bundled_folder() / "burn"
    vap("push", burn, "me/burn", "--yes", code=2, token="")
    vap("push", burn, "me/burn", code=1)  # nobody answers the question
    vap("push", burn, "me/burn", "--yes", code=2, token="hf_another")  # noqa: S106
    assert hub.files == {}
