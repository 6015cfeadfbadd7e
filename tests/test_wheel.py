"""Wheel and sdist hold what is needed, and the wheel works in an environment of its own."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_BYTES = 32 << 20
pytestmark = pytest.mark.timeout(900)  # building and installing are part of the first test


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with wheel and sdist."""
    place = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(place)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return place


@pytest.fixture(scope="module")
def vap(built, tmp_path_factory):
    """The command of a new environment: the wheel, and the libraries of this one."""
    place = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    # As a path only: what is installed as editable there stays out.
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = subprocess.run(
        [python, "-c", "import vap; print(vap.__file__)"],
        env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(where.stdout.strip()).is_relative_to(packages)
    return place / "bin" / "vap"


def environment(**more):
    left = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**left, **more}


def run(vap, *arguments, folder):
    done = subprocess.run(
        [vap, *arguments],
        env=environment(), cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_sdist_holds_the_package_and_no_tests(built):
    (sdist,) = built.glob("*.tar.gz")
    assert sdist.stat().st_size < MOST_BYTES
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for path in ("pyproject.toml", "constraints.txt", "LICENSE", "CHANGELOG.md", "README.md"):
        assert path in names
    source = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "src").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert source <= names
    assert {name.partition("/")[0] for name in names} & {"tests", "docs", "benchmarks"} == set()


@pytest.mark.slow
def test_the_wheel_animates_the_bundled_image(vap, tmp_path):
    run(vap, "generate", "--demo", "--steps", "1", "-o", "demo.mp4", folder=tmp_path)
    assert (tmp_path / "demo.mp4").is_file()


@pytest.mark.slow
def test_the_wheel_measures_the_bundled_model(vap, tmp_path):
    measured = tmp_path / "measured"
    asked = ("--cases", "2", "--system", "vap", "--steps", "1", "-o", measured)
    run(vap, "eval", "mini", *asked, folder=tmp_path)
    assert any(measured.iterdir())


@pytest.mark.slow
def test_the_wheel_serves_the_studio(vap, tmp_path):
    command = [vap, "studio", "--no-browser", "--port", "0", "--data", tmp_path / "data"]
    with subprocess.Popen(
        command, env=environment(), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = []
            for line in process.stderr:
                said.append(line)
                if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                    break
            else:
                pytest.fail("".join(said))
            for path in ("/health", "/"):
                with urllib.request.urlopen(found[0] + path) as answer:  # noqa: S310 - our own
                    assert answer.status == 200
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
    assert process.returncode == 0
