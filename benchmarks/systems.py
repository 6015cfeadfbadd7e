"""The systems that can be measured, and how a process of each is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from vap.acceleration.plan import Profile

ROOT = Path(__file__).parents[1]

# A profile and what `vap.load_pipeline` is told for it; `plain` is loading without any.
PROFILES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"plain": {}, **{name: {"profile": name} for name in get_args(Profile)}}
)
PEER = "peer"
# What runs every pass of every step, as the cost model predicts.
EVERY_PASS = ("plain", "exact")

_FORK = Path("diffusers/src")
_FORK_MARK = _FORK / "diffusers/models/transformers/transformer_wan_mot.py"
_PEER_NEEDS = ("torch", "transformers", "accelerate", "safetensors", "einops", "ftfy", "PIL")
_PEER_TRANSFORMERS = "transformers==4.57.6"
_PROBE = """
import importlib.metadata, importlib.util, json, sys
missing = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]
versions = {} if missing else {"transformers": importlib.metadata.version("transformers")}
print(json.dumps({"missing": missing, **versions}))
"""


@dataclass(frozen=True)
class System:
    """One row's program.

    Attributes:
        name: In the table.
        command: Program and arguments; the job file's name is added.
        environment: Variables beside those of this process.
        options: Of :func:`vap.load_pipeline`.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def profile_system(name: str, options: Mapping[str, Any]) -> System:
    """One of our profiles.

    Args:
        name: Of the profile.
        options: Further options of :func:`vap.load_pipeline`.

    Raises:
        ValueError: If there is no such profile.
    """
    if name not in PROFILES:
        message = f"There is no profile {name!r}. Use one of: {', '.join(PROFILES)}."
        raise ValueError(message)
    command = (sys.executable, "-m", "benchmarks.measured.our_worker")
    return System(name, command, options={**PROFILES[name], **options})


def peer_system(checkout: Path, python: Path | None = None) -> System:
    """The released implementation, in its own environment.

    Args:
        checkout: Of its repository.
        python: The environment's interpreter; by default ``.venv/bin/python`` of the checkout.

    Raises:
        FileNotFoundError: If the checkout or the interpreter is not there.
        ValueError: If the environment lacks something, naming it.
    """
    if not (checkout / _FORK_MARK).is_file():
        message = (
            f"{checkout} is no checkout of the released repository: {_FORK_MARK} is missing. "
            "Clone https://github.com/bytedance/Video-As-Prompt there."
        )
        raise FileNotFoundError(message)
    python = python or checkout / ".venv" / "bin" / "python"
    if not python.is_file():
        message = (
            f"The peer's environment has no interpreter {python}. Make one with: "
            f"{_recipe(checkout)}, or name another with --peer-python."
        )
        raise FileNotFoundError(message)
    _check_peer_environment(python, checkout)
    paths = os.pathsep.join((str(ROOT), str((checkout / _FORK).resolve())))
    command = (str(python.absolute()), "-m", "benchmarks.measured.peer_worker")
    return System(PEER, command, environment={"PYTHONPATH": paths})


def _check_peer_environment(python: Path, checkout: Path) -> None:
    probe = subprocess.run(  # noqa: S603 - the interpreter that the user named
        [str(python), "-c", _PROBE, *_PEER_NEEDS], capture_output=True, text=True, check=False
    )
    if probe.returncode:
        message = f"The peer's interpreter {python} does not run: {probe.stderr.strip()[-300:]}"
        raise ValueError(message)
    found = json.loads(probe.stdout)
    if found["missing"]:
        message = (
            f"The peer's environment ({python}) lacks: {', '.join(found['missing'])}. "
            f"Make it with: {_recipe(checkout)}."
        )
        raise ValueError(message)
    if int(found["transformers"].split(".")[0]) != 4:  # noqa: PLR2004 - as pinned below
        message = (
            f"The peer's environment ({python}) has transformers {found['transformers']}, which "
            f"its fork of diffusers does not know. Install {_PEER_TRANSFORMERS} there."
        )
        raise ValueError(message)


def _recipe(checkout: Path) -> str:
    venv = checkout / ".venv"
    packages = f"torch accelerate safetensors pillow einops ftfy '{_PEER_TRANSFORMERS}'"
    return f"python -m venv {venv} && {venv}/bin/pip install {packages}"
