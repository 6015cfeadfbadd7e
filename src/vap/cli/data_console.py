"""What ``vap data`` prints, in text or JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import TaskID

from vap.cli.console import PlainConsole, progress_bar, show_json
from vap.data.rows import Problem

_LISTED = 20  # entries of a list that text shows


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each step of long work, on standard error and gone at the end."""
    tasks: dict[str, TaskID] = {}
    with progress_bar() as bars:

        def update(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done)

        yield update


def print_result(
    result: dict[str, Any], as_json: bool, show_text: Callable[[Console], None]
) -> None:
    """A result as JSON, or as text by the given function."""
    if as_json:
        show_json(result)
    else:
        show_text(PlainConsole(soft_wrap=True))


def print_counts(result: dict[str, Any], as_json: bool) -> None:
    """A result as lines of name and value; lists, if long cut, and counts are indented below."""

    def lines(out: Console) -> None:
        for name, value in result.items():
            title = name.replace("_", " ")
            if isinstance(value, dict):
                out.print(f"{title}: {'' if value else 'none'}")
                for key, count in value.items():
                    out.print(f"  {key}: {count}")
            elif isinstance(value, list):
                out.print(f"{title}: {len(value)}")
                for entry in value[:_LISTED]:
                    out.print(f"  {': '.join(map(str, entry.values()))}")
                if len(value) > _LISTED:
                    out.print(f"  … and {len(value) - _LISTED} more; --json lists them")
            else:
                text = f"{value:.1f}" if isinstance(value, float) else str(value)
                out.print(f"{title}: {text}")

    print_result(result, as_json, lines)


def print_problems(out: Console, sound: int, kinds: Counter[str], shown: Sequence[Problem]) -> None:
    """Faults counted by kind, then the first of them by row."""
    out.print(f"{sound} valid rows, {kinds.total()} errors")
    for kind, count in kinds.most_common():
        out.print(f"  {kind}: {count}")
    for problem in shown:
        out.print(str(problem))
    if kinds.total() > len(shown):
        out.print(f"… and {kinds.total() - len(shown)} more; --limit or --json shows them")
