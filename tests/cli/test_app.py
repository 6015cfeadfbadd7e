import json
import subprocess
import sys
from collections.abc import Sequence

import pytest
import typer.main

from tests.cli.running import vap
from vap import __version__
from vap.cli.app import app
from vap.files.names import BUNDLED_FOLDER

COMMANDS = (
    ["generate"],
    ["prompt", "encode"],
    ["prompt", "show"],
    ["expert", "extract"],
    ["expert", "info"],
    ["models"],
    ["doctor"],
)


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_in_which_no_option_is_cut(command):
    shown = vap(*command, "--help").stdout
    assert "…" not in shown.replace("0…1", "").replace(" …", "")
    assert "--json" in shown


def all_commands(group=None, path=()):
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("command", list(all_commands()), ids=" ".join)
def test_every_command_has_few_options_that_are_named_alike(command):
    shown = vap(*command, "--help").stdout
    assert "<bool>" not in shown
    assert "<path>" not in shown.split("Options")[1]
    listed = [line for line in shown.splitlines() if line.strip("│* ").startswith("--")]
    assert len(listed) <= 25
    if any(line.strip("│* ").startswith("--output") for line in listed):
        assert "-o" in shown


def test_advanced_options_show_when_all_are_asked_for():
    assert "--quantize" not in vap("generate", "--help").stdout
    assert "--quantize" in vap("generate", "--help-all").stdout


def test_version_is_told():
    assert vap("--version").stdout == f"vap {__version__}\n"


def test_unknown_commands_and_options_end_with_2():
    assert "generat" in vap("generat", code=2).stderr
    assert "--imag" in vap("generate", "--imag", "x", code=2).stderr
    assert "'evenly'" in vap("generate", "--selection", "all", code=2).stderr


HELPED = (["--help"], ["data", "--help"], ["data", "synth", "--hlep"], ["generate", "--hlep"])
WRONG = (
    ["--image", "nix.png"],
    ["--reference", "nix.mp4"],
    ["--model", "wna"],
    ["--device", "cdua"],
    ["--dtype", "float8"],
    ["--memory", "plenty"],
    ["--frames", "10"],
    ["--width", "832", "--height", "480"],
    ["--seed", "-1"],
)


def test_help_and_wrong_options_import_nothing_heavy():
    modules = imported_by(HELPED)
    assert not {"torch", "diffusers", "numpy", "av", "PIL"} & modules.keys(), modules


def test_wrong_values_are_told_without_torch():
    image = str(BUNDLED_FOLDER / "demo" / "image.png")
    given = [["generate", "--image", image, *wrong, "-o", "out.mp4"] for wrong in WRONG]
    modules = imported_by(given)
    assert not {"torch", "diffusers"} & modules.keys(), modules


def imported_by(commands: Sequence[list[str]]) -> dict[str, str]:
    """Modules that refused or answered commands import, each with the first command that does."""
    shown = subprocess.run(
        [sys.executable, "-c", _IMPORTING, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
    )
    *ended, modules = map(json.loads, shown.stdout.splitlines()[-len(commands) - 1 :])
    assert ended == [0 if "--help" in command else 2 for command in commands], shown.stderr
    return modules


# A command replaces the streams of its process.
_IMPORTING = """
import json, sys
from vap.cli import main

out, codes, modules = sys.stdout, [], {}
for command in json.loads(sys.argv[1]):
    sys.argv = ["vap", *command]
    try:
        main()
    except SystemExit as end:
        codes.append(end.code)
    modules = {name: " ".join(command) for name in sys.modules} | modules
for each in (*codes, modules):
    print(json.dumps(each), file=out)
"""


def test_python_m_vap_is_the_same_command():
    finished = python("-m", "vap", "--version")
    assert finished.stdout == f"vap {__version__}\n"
    assert finished.stderr == ""
