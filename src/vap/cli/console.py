"""What all commands share: messages, progress, JSON output and exit codes.

Exit codes: 0 done; 1 something failed that the user could not know; 2 the input or an option is
not usable, and the message says why; 130 interrupted. Results go to standard output, messages to
standard error. With VAP_DEBUG set, errors show where they come from.
"""

from __future__ import annotations

import json
import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
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

from vap.parallel.launch import launched, leave

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130

# What bad input raises throughout the package; anything else is a fault of ours.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError)
# Of commands that encode or make a video of a given size.
LESS_TO_HOLD = "Lower --height, --width or --frames, or use --dtype bfloat16."
_MEMORY_ADVICE = "Give less to work on at once, or use a machine with more."
_FAULT_ADVICE = "This is a fault of vap. Set VAP_DEBUG=1 to see where, and please report it."

messages = Console(stderr=True, highlight=False)
results = Console(highlight=False)


@contextmanager
def reporting(*, as_json: bool = False, memory_advice: str = _MEMORY_ADVICE) -> Iterator[None]:
    """Turn errors into one message and an exit code.

    Args:
        as_json: Whether the message is printed as JSON.
        memory_advice: What to do if memory runs out, by the command's own options.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt as error:
        _report("interrupted", "Interrupted; nothing was left half-written.", as_json=as_json)
        raise typer.Exit(INTERRUPTED) from error
    except _USER_ERRORS as error:
        _report(type(error).__name__, str(error), as_json=as_json)
        raise typer.Exit(UNUSABLE) from error
    except FloatingPointError as error:
        # Numbers that ran away, where they did: neither bad input nor a fault of ours.
        _report(type(error).__name__, str(error), as_json=as_json)
        raise typer.Exit(FAILED) from error
    except Exception as error:
        # The last place where an error can be put in words.
        if _is_out_of_memory(error):
            said = f"The memory is not enough. {memory_advice}"
            _report("OutOfMemory", said, as_json=as_json)
        else:
            kind = type(error).__name__
            said = f"{kind}: {error}" if str(error) else kind
            _report(kind, f"{said}. {_FAULT_ADVICE}", as_json=as_json)
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
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def quiet_libraries() -> None:
    """Keep the libraries' own bars and notices off the terminal; errors still show."""
    # Before the import: these two speak while diffusers looks for optional kernels.
    for name in ("torch.utils._pytree", "torchao"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
    warnings.simplefilter("ignore")


@contextmanager
def progress_bar(*, shown: bool = True) -> Iterator[Progress]:
    """A bar with elapsed and remaining time, on standard error."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, disable=not shown, transient=True) as progress:
        yield progress


def _is_out_of_memory(error: Exception) -> bool:
    # Torch raises a RuntimeError for a CPU, and a subclass of it for an accelerator.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _report(kind: str, message: str, *, as_json: bool) -> None:
    if os.environ.get("VAP_DEBUG"):
        messages.print(traceback.format_exc(), markup=False, soft_wrap=True)
    if as_json:
        show_json({"error": {"type": kind, "message": message}})
    else:
        messages.print(f"[bold red]error:[/] {_escaped(message)}", soft_wrap=True)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
