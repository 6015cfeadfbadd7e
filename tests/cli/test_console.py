"""What reaches a terminal, and streams that take nothing."""

import io
import json
import os
import signal
import sys

import pytest
import typer

from tests.cli.running import refusal
from vap.cli.console import PlainConsole, as_process, reporting, results, show_json


@pytest.mark.parametrize("name", [r"\[/x]", "[/]", "[bold]x[/bold]", ":cat:"])
def test_names_are_printed_as_they_are(name, here):
    assert f"{name}.safetensors" in refusal("expert", "info", f"{name}.safetensors")


def test_what_controls_a_terminal_is_spelled_out():
    written = io.StringIO()
    PlainConsole(file=written).print("a\x1b]0;title\x07\u202eb\tc\nd")
    assert written.getvalue() == "a\\x1b]0;title\\x07\\u202eb\tc\nd\n".expandtabs(8)


@pytest.fixture
def signals():
    """The system's own handlers, as in a fresh process; Ray leaves its own behind."""
    names = (signal.SIGTERM, signal.SIGHUP)
    before = {name: signal.signal(name, signal.SIG_DFL) for name in names}
    yield
    for name, handler in before.items():
        signal.signal(name, handler)


def ended(command) -> int:
    """The exit code of a command that is run as a process."""

    def ending():
        command()
        raise SystemExit(0)

    with pytest.raises(SystemExit) as caught, as_process():
        ending()
    return caught.value.code


def show():
    with reporting(as_json=True):
        show_json({"a": "b" * 100_000})
        results.print("a")
        typer.echo("a")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no full device")  # noqa: PTH110
@pytest.mark.parametrize("command", [show, lambda: typer.echo("a"), lambda: results.print("a")])
@pytest.mark.parametrize("buffering", [-1, 0])  # 0 as with PYTHONUNBUFFERED
def test_full_output_ends_with_1_and_a_sentence(command, buffering, signals, monkeypatch, capsys):
    with open("/dev/full", "wb", buffering) as full:  # noqa: PTH123
        output = io.TextIOWrapper(full, write_through=not buffering)
        monkeypatch.setattr(sys, "stdout", output)
        assert ended(command) == 1
        monkeypatch.undo()
    said = capsys.readouterr().err
    assert "No space left on device" in said
    assert "Traceback" not in said


def test_output_that_nobody_reads_any_more_ends_in_silence(signals, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert ended(show) == 1
        monkeypatch.undo()
    assert capsys.readouterr().err == ""


def test_no_output_at_all_is_no_fault(signals, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert ended(show) == 0


def test_ascii_output_gets_json_and_text(signals, monkeypatch, tmp_path):
    def show():
        show_json({"a": "é漢"})
        results.print("é漢")

    with (tmp_path / "out").open("w", encoding="ascii") as output:
        monkeypatch.setattr(sys, "stdout", output)
        assert ended(show) == 0
        monkeypatch.undo()
    shown = (tmp_path / "out").read_text(encoding="ascii")
    value, end = json.JSONDecoder().raw_decode(shown)
    assert value == {"a": "é漢"}
    assert shown[end:].strip() == r"\xe9\u6f22"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_the_end_of_a_job_is_an_interruption(name, signals):
    def command():
        with reporting():
            os.kill(os.getpid(), getattr(signal, name))

    with pytest.raises((SystemExit, typer.Exit)) as caught, as_process():
        command()
    assert getattr(caught.value, "exit_code", None) == 130
