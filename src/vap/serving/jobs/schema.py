"""The version of the tables, and the way from older ones."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sql

VERSION = 2
"""Of the tables of this program. A change of a table needs the next one, and its step."""

STEPS: Mapping[int, tuple[str, ...]] = {
    1: (
        'ALTER TABLE jobs ADD COLUMN "group" VARCHAR(64)',
        "ALTER TABLE jobs ADD COLUMN reference_use TEXT",
        'CREATE INDEX jobs_of_group ON jobs (owner, "group", number)',
    ),
}
"""Statements for SQLite and PostgreSQL that lead from a version to the next."""

metadata = sql.MetaData()
_version = sql.Table(
    "schema_version", metadata, sql.Column("version", sql.Integer, primary_key=True)
)
_FIRST = 1  # of tables that were made before they had a version


def prepare(connection: sql.Connection, *, upgrade: bool = False) -> None:
    """Make the tables that are missing, and upgrade those that are there if asked to.

    Raises:
        ValueError: If tables are newer than this program, or older and ``upgrade`` is False.
    """
    found = _found(connection)
    if found > VERSION:
        raise ValueError(
            f"The database has tables of version {found}, and this vap knows {VERSION}. Install "
            "the vap that wrote them, or a newer one."
        )
    if found < VERSION and not upgrade:
        raise ValueError(
            f"The database has tables of version {found}, and this vap needs {VERSION}. Stop all "
            "services and workers, make a backup, and start `vap serve --upgrade` once."
        )
    for version in range(found, VERSION):
        for statement in STEPS[version]:
            connection.execute(sql.text(statement))
    metadata.create_all(connection)
    connection.execute(_version.delete())
    connection.execute(_version.insert().values(version=VERSION))


def _found(connection: sql.Connection) -> int:
    """The version of the tables that are there; this program's if there are none."""
    tables = sql.inspect(connection).get_table_names()
    if _version.name in tables:
        return int(connection.scalar(sql.select(_version.c.version)) or _FIRST)
    return _FIRST if "jobs" in tables else VERSION
