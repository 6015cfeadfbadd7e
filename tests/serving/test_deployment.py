"""The files of a deployment: they name what exists, and what they start works together."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from typer.main import get_command

from tests.docs.blocks import ROOT, blocks
from tests.serving.chaos import free_port
from tests.serving.jobs.test_worker import once
from tests.serving.postgresql import postgresql
from vap.cli.app import app
from vap.files.names import BUNDLED_FOLDER
from vap.serving.settings import ENVIRONMENT, Settings, read_settings

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if "build" in each}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEMO = BUNDLED_FOLDER / "demo"
NAMES = {
    *("build", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "ports"),
    *("profiles", "restart", "stop_grace_period", "volumes"),
}


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    (line,) = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for word in line.split())


def test_the_page_shows_settings_that_exist(tmp_path: Path) -> None:
    (block,) = (each for each in blocks("yaml") if each.page == "docs/serving.md")
    file = tmp_path / "serve.yaml"
    file.write_text(block.code)
    assert read_settings(file, {}).models == ("wan", "vap-mini")


def test_compose_file_and_image_use_settings_that_exist() -> None:
    assert set(OURS) == {"service", "worker", "worker-cpu"}
    names = {
        *image_environment(),
        *(name for each in OURS.values() for name in each["environment"]),
    }
    for name in names:
        assert name.startswith(ENVIRONMENT)
        assert name.removeprefix(ENVIRONMENT).lower() in Settings.model_fields


def test_commands_exist_with_their_options() -> None:
    commands: Any = get_command(app)
    (default,) = re.findall(r"^CMD (.*)$", DOCKERFILE, re.MULTILINE)
    for words in (yaml.safe_load(default), *(each["command"].split() for each in OURS.values())):
        program, name, *options = words
        assert program == "vap"
        known = [
            option
            for parameter in commands.commands[name].params
            for option in (*parameter.opts, *parameter.secondary_opts)
        ]
        assert set(options) <= set(known)


def test_the_image_installs_extras_that_exist_from_files_that_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (installed,) = re.findall(r'"\.\[(.*)\]"', DOCKERFILE)
    assert set(installed.split(",")) <= set(extras["optional-dependencies"])
    allowed = (ROOT / ".dockerignore").read_text()
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert f"!{source}\n" in allowed
    (devices,) = {tuple(re.findall(r'"\$DEVICE" = (\w+)', line)) for line in [DOCKERFILE]}
    assert {each["build"]["args"]["DEVICE"] for each in OURS.values()} == set(devices)


def test_services_and_volumes_that_are_named_are_there() -> None:
    assert set(COMPOSE) == {"x-vap", "x-worker", "services", "volumes"}
    (created,) = re.findall(r"install --directory .* (/data .*)$", DOCKERFILE, re.MULTILINE)
    for each in COMPOSE["services"].values():
        assert set(each) <= NAMES
        assert set(each.get("depends_on", {})) <= set(COMPOSE["services"])
        for name, place in (volume.split(":") for volume in each["volumes"]):
            assert name in COMPOSE["volumes"]
            assert place in created.split() or each["image"].startswith("postgres")
    assert "USER vap" in DOCKERFILE
    assert image_environment()["VAP_SERVE_DATA"] in created.split()


class Deployment:
    """The containers of the compose file as processes on one machine, with one data folder."""

    def __init__(self, database: str, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = None
        if os.geteuid() == 0 and _runs_python("nobody"):
            self.user = "nobody"
            shutil.chown(folder, "nobody")
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            **image_environment(),
            "VAP_SERVE_PORT": str(self.port),
            "VAP_SERVE_DATA": str(folder),
        }
        self._database = database

    def start(self, service: str, command: str | None = None) -> subprocess.Popen[str]:
        """Start the command of a service, or another one in its place."""
        described = OURS[service]
        given = {name: str(value) for name, value in described["environment"].items()}
        given = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", text) for name, text in given.items()}
        assert given["VAP_SERVE_DATABASE"].startswith("postgresql://")
        given["VAP_SERVE_DATABASE"] = self._database
        words = shlex.split(command or described["command"])
        assert words.pop(0) == "vap"
        return subprocess.Popen(
            [sys.executable, "-m", "vap", *words],
            env={**self._environment, **given},
            cwd=self.folder,
            user=self.user,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    @contextmanager
    def running(self, service: str) -> Iterator[None]:
        """Run a service; it must end by itself when it is told to."""
        process = self.start(service)
        try:
            yield
            assert process.poll() is None
            process.terminate()
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.communicate()


def _runs_python(user: str) -> bool:
    try:
        done = subprocess.run([sys.executable, "-c", ""], user=user, check=False)
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user may enter."""
    with tempfile.TemporaryDirectory(prefix="vap-deployment-") as name:
        yield Path(name)


@pytest.mark.slow
def test_service_worker_and_postgresql_make_a_video_as_composed(folder: Path) -> None:
    with postgresql() as url, ExitStack() as stack:
        deployment = Deployment(url, folder)
        refused = deployment.start("service")
        refused.communicate(timeout=120)
        assert refused.returncode == 2  # others reach it, and there is no key
        made = deployment.start("service", "vap keys create studio")
        key = made.communicate(timeout=120)[0].strip()
        for name in ("service", "worker-cpu"):
            stack.enter_context(deployment.running(name))
        client = stack.enter_context(
            httpx2.Client(base_url=f"http://127.0.0.1:{deployment.port}", timeout=60)
        )

        def healthy() -> bool:
            try:
                return client.get("/health").json()["workers"] == 1
            except httpx2.TransportError:
                return False

        once(healthy, 120)
        client.headers["Authorization"] = f"Bearer {key}"
        files = [
            ("input_reference", (DEMO / "image.png").read_bytes()),
            ("reference", (DEMO / "reference.mp4").read_bytes()),
        ]
        fields = {"prompt": "a castle", "num_inference_steps": "2", "num_frames": "5"}
        video = client.post("/v1/videos", files=files, data=fields).raise_for_status().json()
        path = f"/v1/videos/{video['id']}"
        ended = once(lambda: (each := client.get(path).json())["completed_at"] and each, 240)
        assert ended["status"] == "completed"
        assert client.get(f"{path}/content").content[4:8] == b"ftyp"
        assert list((folder / "media" / "videos").iterdir())
        assert not (folder / "jobs.sqlite").exists()
