"""``vap keys``: who may use a service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vap.cli import options
from vap.cli.console import messages, reporting, results, show_json
from vap.cli.options import App
from vap.cli.serve import Config, Data

if TYPE_CHECKING:
    from vap.serving.keys import Keys

app = App(help="Make, list and revoke the API keys of a service.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Id of a key, as `vap keys list` has it.")]
_MOST = 1_000_000


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="For people: who has it.")],
    priority: Annotated[
        int, typer.Option(min=-_MOST, max=_MOST, help="Of its jobs; higher ones go first.")
    ] = 0,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, max=_MOST, help="Default: the service's limit.")
    ] = None,
    max_queued: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="Jobs that wait or run. Default: the service's limit."),
    ] = None,
    config: Config = None,
    data: Data = None,
    as_json: options.AsJson = False,
) -> None:
    """Make a key. It is shown once, and stored as a hash."""
    with reporting(as_json=as_json), _keys(config, data) as keys:
        key, text = keys.create(
            name,
            priority=priority,
            requests_per_minute=requests_per_minute,
            max_queued=max_queued,
        )
        secret = keys.webhook_secret(key.id)
        if as_json:
            show_json({**asdict(key), "key": text, "webhook_secret": secret})
            return
        results.print(text, soft_wrap=True, highlight=False)
        messages.print(f"Webhooks of its jobs are signed with {secret}", soft_wrap=True)


@app.command("list")
def list_keys(config: Config = None, data: Data = None, as_json: options.AsJson = False) -> None:
    """List the keys, without their secrets."""
    with reporting(as_json=as_json), _keys(config, data) as keys:
        found = keys.list()
        if as_json:
            show_json([asdict(key) for key in found])
            return
        table = Table("id", "name", "made", "revoked", "priority", box=None)
        for key in found:
            times = _day(key.created_at), _day(key.revoked_at)
            table.add_row(key.id, key.name, *times, str(key.priority))
        results.print(table)


@app.command("revoke")
def revoke(key_id: KeyId, config: Config = None, data: Data = None) -> None:
    """Refuse a key from now on."""
    with reporting(), _keys(config, data) as keys:
        try:
            key = keys.revoke(key_id)
        except KeyError:
            raise ValueError(f"There is no key {key_id!r}. `vap keys list` shows all.") from None
        messages.print(f"The key {key.id} ({key.name}) is revoked.", soft_wrap=True)


@app.command("secret")
def secret(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a key; none where no keys are used.")
    ] = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Show the secret that signs the webhooks of a key."""
    with reporting(), _keys(config, data) as keys:
        if key_id and key_id not in [key.id for key in keys.list()]:
            raise ValueError(f"There is no key {key_id!r}. `vap keys list` shows all.")
        results.print(keys.webhook_secret(key_id), soft_wrap=True, highlight=False)


@contextmanager
def _keys(config: Path | None, data: Path | None) -> Iterator[Keys]:
    from vap.extras import require

    require("sqlalchemy", extra="serve", purpose="keep API keys")
    from vap.serving.jobs.database import Database
    from vap.serving.keys import Keys
    from vap.serving.settings import read_settings

    database = Database(read_settings(config, data=data).database_url)
    try:
        yield Keys(database)
    finally:
        database.close()


def _day(time: float | None) -> str:
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d")
