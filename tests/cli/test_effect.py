import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vap.cli.app import app
from vap.media import write_video


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


def test_an_effect_is_created_exported_installed_and_listed(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), np.uint8)
    video = write_video(frames, tmp_path / "clip.mp4", 8)
    run = CliRunner().invoke
    folder, file = tmp_path / "melt", tmp_path / "melt.zip"
    made = run(
        app,
        [
            *("effect", "create", "--name", "melt", "--reference", str(video)),
            *("-o", str(folder), "--strength", "0.5", "--json"),
        ],
    )
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["settings"] == {"strength": 0.5}
    assert run(app, ["effect", "export", str(folder), "-o", str(file)]).exit_code == 0
    assert run(app, ["effect", "install", str(file)]).exit_code == 0
    listed = json.loads(run(app, ["effect", "list", "--json"]).stdout)
    assert "melt" in [effect["name"] for effect in listed]
    assert run(app, ["effect", "remove", "melt"]).exit_code == 0
    assert run(app, ["effect", "show", "melt"]).exit_code != 0
