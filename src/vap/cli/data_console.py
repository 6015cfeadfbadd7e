"""What ``vap data`` prints, in text or JSON, and how its commands end."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from vap.data.schema import Problem, TableError


@contextmanager
def exit_codes(as_json: bool) -> Iterator[None]:
    """End with 1 when a table is refused and with 2 when the command cannot work as given."""
    try:
        yield
    except TableError as error:
        _fail(error, as_json, error.problems)
        raise typer.Exit(1) from error
    except (OSError, ValueError, ImportError) as error:
        _fail(error, as_json, ())
        raise typer.Exit(2) from error


def _fail(error: Exception, as_json: bool, problems: Sequence[Problem]) -> None:
    if as_json:
        _write_json({"error": str(error), "problems": [asdict(problem) for problem in problems]})
    else:
        Console(stderr=True).print(escape(str(error)), style="red", soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each step of long work, on standard error and gone at the end."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def update(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done)

    with bars:
        yield update


def print_result(
    result: dict[str, Any], as_json: bool, show_text: Callable[[Console], None]
) -> None:
    """A result as JSON, or as text by the given function."""
    if as_json:
        _write_json(result)
    else:
        show_text(Console(soft_wrap=True))


def print_counts(result: dict[str, Any], as_json: bool) -> None:
    """A result as lines of name and value; lists and nested counts are indented below."""

    def lines(out: Console) -> None:
        for name, value in result.items():
            title = name.replace("_", " ")
            if isinstance(value, dict):
                out.print(f"{title}: {'' if value else 'none'}")
                for key, count in value.items():
                    out.print(f"  {escape(str(key))}: {count}", highlight=False)
            elif isinstance(value, list):
                out.print(f"{title}: {len(value)}")
                for entry in value:
                    out.print(f"  {escape(': '.join(map(str, entry.values())))}", highlight=False)
            else:
                text = f"{value:.1f}" if isinstance(value, float) else str(value)
                out.print(f"{title}: {escape(text)}", highlight=False)

    print_result(result, as_json, lines)


def print_problems(out: Console, sound: int, kinds: Counter[str], shown: Sequence[Problem]) -> None:
    """Faults counted by kind, then the first of them by row."""
    out.print(f"{sound} sound rows, {kinds.total()} faults")
    for kind, count in kinds.most_common():
        out.print(f"  {kind}: {count}", highlight=False)
    for problem in shown:
        out.print(escape(str(problem)), highlight=False)
    if kinds.total() > len(shown):
        out.print(f"… and {kinds.total() - len(shown)} more; --limit or --json shows them")


def _write_json(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result, ensure_ascii=False, indent=2) + "\n")
