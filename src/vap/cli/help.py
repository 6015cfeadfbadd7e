"""How every command shows its options: one set of metavars, and the advanced ones on request."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

ADVANCED = "Advanced"
_VALUES = {
    "<bool>": "",  # a flag
    "<path>": "PATH",
    "<list[Path]>": "PATH",
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<int>": "N",
    "<int range>": "N",
    "<float>": "NUMBER",
    "<float range>": "NUMBER",
}


class Command(TyperCommand):
    """A command whose help shows ``PATH`` and ``N``, and nothing after a flag."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the one set of metavars; advanced options only where they are asked for."""
        _name_values(self, ctx)
        super().format_help(ctx, formatter)


class WithAdvanced(Command):
    """A command whose advanced options show in ``--help-all`` alone."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Without the advanced options, unless they are asked for."""
        for param in self.params:
            if getattr(param, "rich_help_panel", None) == ADVANCED:
                vars(param)["hidden"] = not ctx.meta.get(ADVANCED, False)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """The same for a group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the one set of metavars."""
        _name_values(self, ctx)
        super().format_help(ctx, formatter)


class App(typer.Typer):
    """A group of commands that show their options so."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, cls=Group, **kwargs)

    def command(self, name: str | None = None, *, cls: Any = Command, **kwargs: Any) -> Any:
        """As typer's."""
        return super().command(name, cls=cls, **kwargs)


def show_all(context: typer.Context, asked: bool) -> None:
    """Print the help of a command with its advanced options, and end."""
    if asked:
        context.meta[ADVANCED] = True
        typer.echo(context.get_help())
        raise typer.Exit


def _name_values(command: Any, context: Any) -> None:
    for param in command.get_params(context):
        if param.metavar is None and param.param_type_name == "option":
            param.metavar = _VALUES.get(param.display_type(context))
