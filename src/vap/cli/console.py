"""What all commands share: messages, progress, JSON output and exit codes.

Exit codes: 0 done; 1 something failed that the user could not know; 2 the input or an option is
not usable, and the message says why; 130 interrupted. Results go to standard output, messages to
standard error. With VAP_DEBUG set, errors show where they come from.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from vap.files.errors import MachineError
from vap.files.reading import is_out_of_memory
from vap.process import launched, leave
from vap.process import quiet_libraries as quieted

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130

# What bad input raises throughout the package; anything else is a bug.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError)
# Of commands that encode or make a video of a given size.
LESS_MEMORY = "Lower --height, --width or --frames, or use --dtype bfloat16."
_MEMORY_ADVICE = "Reduce the amount of work, or use a machine with more memory."
_BUG_ADVICE = "This is a bug in vap. Set VAP_DEBUG=1 to see the traceback, and please report it."
# What moves the cursor, colors or reorders text; line feeds and tabs are text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class PlainConsole(Console):
    """Prints names and texts of files as they are: no markup, no control of the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does it, of a plain text."""
        return super().render_str(plain(text), **options)


def plain(text: str) -> str:
    """A text with its control characters spelled out."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


# Options that are not called as the argument in Python.
_OPTIONS = {
    "references": "reference",
    "reference_prompts": "reference-prompt",
    "num_frames": "frames",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "reference_guidance_scale": "reference-guidance",
    "use_dynamic_cfg": "dynamic-guidance",
    "frame_selection": "selection",
}
_SAME = "height|width|fps|strength|seed|fit|dtype|device|offload|memory|quantize|profile|student"
_ARGUMENT = re.compile(
    rf"(?<![\w.-])({'|'.join(_OPTIONS)}|{_SAME})=('[^']*'|[^\s,;:()]*[^\s.,;:()])"
)


def option(argument: str) -> str:
    """The option for an argument in Python, such as ``--frames`` for ``num_frames``."""
    return "--" + _OPTIONS.get(argument, argument).replace("_", "-")


def in_options(message: str) -> str:
    """A message with options in place of arguments in Python: ``--frames 9``."""
    return _ARGUMENT.sub(lambda found: f"{option(found[1])} {found[2]}", message)


messages = PlainConsole(stderr=True)
results = PlainConsole()
_quiet = ExitStack()  # never closed


class _Stream(io.RawIOBase):
    """A standard stream that, once full or closed, takes the rest and keeps the reason."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any) -> int | None:
        if self.error is None:
            try:
                return self._raw.write(data)
            except OSError as error:
                self.error = error
        return len(data)


@contextmanager
def as_process() -> Iterator[None]:
    """Let a command be the whole of a process.

    It ends on SIGTERM and a closed terminal as on Ctrl-C, so that nothing is left half-written,
    and without a traceback where the standard streams are full, closed or ASCII only.
    """
    # One of several processes may wait for the others, where it hears no handler.
    for name in () if launched() else ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    output = _safe(sys.stdout)
    if output is not None:
        sys.stdout = output[0]
    if (errors := _safe(sys.stderr)) is not None:
        sys.stderr = errors[0]
    try:
        yield
    finally:
        if output is not None:
            sys.stdout.flush()
            if (error := output[1].error) is not None:
                if not isinstance(error, BrokenPipeError):  # whoever read it has enough
                    said = f"Standard output cannot be written ({error.strerror})."
                    _report("OSError", said, as_json=False)
                raise SystemExit(FAILED)


def _safe(stream: Any) -> tuple[io.TextIOWrapper, _Stream] | None:
    """A standard stream that never raises; None if it is missing or not a file."""
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):  # as it is with PYTHONUNBUFFERED
        raw = getattr(raw, "raw", None)
    if raw is None:
        return None
    safe = _Stream(raw)
    text = io.TextIOWrapper(
        io.BufferedWriter(safe), stream.encoding, "backslashreplace", line_buffering=True
    )
    return text, safe


@contextmanager
def reporting(
    *,
    as_json: bool = False,
    memory_advice: str = _MEMORY_ADVICE,
    words: Callable[[str], str] = str,
) -> Iterator[None]:
    """Turn errors into one message and an exit code."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt as error:
        _report("interrupted", "Interrupted; nothing was left half-written.", as_json=as_json)
        raise typer.Exit(INTERRUPTED) from error
    except (FloatingPointError, MachineError) as error:
        # Non-finite values, or a machine that ran short: neither bad input nor a bug.
        _report(type(error).__name__, words(str(error)), as_json=as_json)
        raise typer.Exit(FAILED) from error
    except _USER_ERRORS as error:
        # A table's, row by row.
        problems = getattr(error, "problems", ())
        _report(type(error).__name__, words(str(error)), as_json=as_json, problems=problems)
        raise typer.Exit(UNUSABLE) from error
    except Exception as error:
        # The last place where an error can be put in words.
        if is_out_of_memory(error):
            said = f"Out of memory. {memory_advice}"
            _report("OutOfMemory", said, as_json=as_json)
        else:
            kind = type(error).__name__
            said = f"{kind}: {error}" if str(error) else kind
            _report(kind, f"{said}. {_BUG_ADVICE}", as_json=as_json)
        raise typer.Exit(FAILED) from error


@contextmanager
def ending_together() -> Iterator[None]:
    """End at once if this is one of several processes: then ``torchrun`` ends the others too."""
    code = 0
    try:
        yield
    except typer.Exit as ended:
        if not launched():
            raise
        code = ended.exit_code
    if launched():
        leave(code)


def show_json(value: Any) -> None:
    """Print a result for machines."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=not unicode, default=_as_json))


def _as_json(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def quiet_libraries() -> None:
    """Show errors of the libraries and our own warnings only, from here on; this imports them."""
    _quiet.enter_context(quieted())
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    said = Text.assemble(("warning:", "bold yellow"), " ", plain(str(message)))
    messages.print(said, soft_wrap=True)


def show_notes() -> None:
    """Print what the package warns of, and the memory plan, as notes on standard error."""
    warnings.showwarning = lambda message, *_, **__: note(str(message))
    logger = logging.getLogger("vap")
    if not any(isinstance(handler, _Notes) for handler in logger.handlers):
        logger.addHandler(_Notes(logging.INFO))
    logging.getLogger("vap.loading.memory").setLevel(logging.INFO)


def note(said: str) -> None:
    """One line on standard error."""
    messages.print(f"note: {said}", soft_wrap=True)


def note_demonstration(*models: str) -> None:
    """Say what the default model is, where it is among those about to run."""
    from vap.files.folders import family_of, native_video
    from vap.files.names import BUNDLED_FOLDER, DEFAULT_MODEL

    if DEFAULT_MODEL in models:
        folder = BUNDLED_FOLDER / DEFAULT_MODEL
        shape, _ = native_video(folder, family_of(folder))
        note(
            f"{DEFAULT_MODEL} is a demonstration model of {shape.height}×{shape.width} pixels. "
            "For real videos use --model wan or --model cogvideox; `vap doctor` shows what they "
            "need."
        )


class _Notes(logging.Handler):
    """Prints log records as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(in_options(record.getMessage()))


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Progress]:
    """A bar with elapsed and remaining time, on standard error."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("remaining"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not shown, transient=True) as progress:
        yield progress


def _report(kind: str, message: str, *, as_json: bool, problems: Sequence[object] = ()) -> None:
    if os.environ.get("VAP_DEBUG"):
        messages.print(traceback.format_exc(), soft_wrap=True)
    # What a library said may end with a full stop of its own.
    message = re.sub(r"(?<=\w)\.\.(?= |$)", ".", message)
    if as_json:
        found = {"type": kind, "message": message, **({"problems": problems} if problems else {})}
        show_json({"error": found})
    else:
        said = Text.assemble(("error:", "bold red"), " ", plain(message))
        messages.print(said, soft_wrap=True)
