"""Runs ``vap`` in this process, the way a shell would."""

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from vap.cli.app import app

GOLDEN = Path(__file__).parents[1] / "golden"
WAN, COGVIDEOX = GOLDEN / "wan", GOLDEN / "cogvideox"


def vap(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def vap_json(*arguments: object, code: int = 0):
    return json.loads(vap(*arguments, "--json", code=code).stdout)


def refusal(*arguments: object, code: int = 2) -> str:
    """The message of a command that is refused, in one line."""
    result = vap(*arguments, code=code)
    assert result.stdout == ""
    said = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
    assert said[0].startswith("error: ")
    return " ".join(" ".join(said).split())
