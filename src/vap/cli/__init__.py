"""The command line: one module per command."""

from __future__ import annotations


def main() -> None:
    """Run ``vap``."""
    from vap.cli.app import app
    from vap.cli.console import as_process

    with as_process():
        app()
