import subprocess
import sys

import pytest

from tests.cli.running import vap
from vap import __version__

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


def test_version_is_told():
    assert vap("--version").stdout == f"vap {__version__}\n"


def test_unknown_commands_and_options_end_with_2():
    assert "generat" in vap("generat", code=2).stderr
    assert "--imag" in vap("generate", "--imag", "x", code=2).stderr
    assert "'evenly'" in vap("generate", "--selection", "all", code=2).stderr


def test_help_does_not_wait_for_torch():
    code = "import sys; from vap.cli.app import app; print('torch' in sys.modules)"
    assert python("-c", code).stdout == "False\n"


def test_python_m_vap_is_the_same_command():
    finished = python("-m", "vap", "--version")
    assert finished.stdout == f"vap {__version__}\n"
    assert finished.stderr == ""
