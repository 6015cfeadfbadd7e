"""The tables of the queue, in a SQLite file or in PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql

from vap.serving.jobs.schema import metadata, prepare

_TABLES, _SWEEP = 7_086_001, 7_086_002  # advisory locks of PostgreSQL

jobs = sql.Table(
    "jobs",
    metadata,
    # Jobs of one priority are taken in the order of their numbers.
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(80), nullable=False, unique=True),
    sql.Column("owner", sql.String(80), nullable=False),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("request", sql.Text, nullable=False),
    sql.Column("progress", sql.Integer, nullable=False),
    sql.Column("stage", sql.String(40), nullable=False),
    sql.Column("created_at", sql.Double, nullable=False),
    sql.Column("started_at", sql.Double),
    sql.Column("completed_at", sql.Double),
    sql.Column("expires_at", sql.Double),
    sql.Column("error_code", sql.String(80)),
    sql.Column("error_message", sql.Text),
    sql.Column("video", sql.String(200)),
    sql.Column("thumbnail", sql.String(200)),
    sql.Column("preview", sql.String(200)),
    sql.Column("seed", sql.BigInteger, nullable=False),
    sql.Column("model", sql.String(200), nullable=False),
    sql.Column("seconds", sql.Double),
    sql.Column("size", sql.String(16)),
    sql.Column("webhook_url", sql.Text),
    sql.Column("priority", sql.Integer, nullable=False),
    sql.Column("idempotency_key", sql.String(255)),
    sql.Column("remixed_from", sql.String(80)),
    sql.Column("group", sql.String(64)),
    sql.Column("reference_use", sql.Text),
    sql.Column("attempts", sql.Integer, nullable=False),
    # Who works on it, and until when the others wait for a sign of life.
    sql.Column("worker", sql.String(80)),
    sql.Column("lease_until", sql.Double),
    sql.UniqueConstraint("owner", "idempotency_key"),
    sql.Index("jobs_queue", "state", "priority", "number"),
    sql.Index("jobs_of_owner", "owner", "number"),
    sql.Index("jobs_of_group", "owner", "group", "number"),
    sql.Index("jobs_with_webhook", "webhook_url"),
)

workers = sql.Table(
    "workers",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("machine", sql.String(255), nullable=False),
    sql.Column("started_at", sql.Double, nullable=False),
    sql.Column("seen_at", sql.Double, nullable=False),
)


class Database:
    """Transactions on one database; threads and processes may share it.

    Args:
        url: Of SQLAlchemy.
        upgrade: Whether to upgrade tables of an older version.

    Raises:
        ValueError: If its tables are of another version.
    """

    def __init__(self, url: str, *, upgrade: bool = False) -> None:
        self.engine = _engine(url)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self._reads = self.engine
        if not self.sqlite:  # saves a BEGIN and a ROLLBACK on the way to the server and back
            self._reads = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with self.write() as connection:
            if not self.sqlite:
                # Two services that start together must not both make the tables.
                connection.execute(sql.text(f"SELECT pg_advisory_xact_lock({_TABLES})"))
            prepare(connection, upgrade=upgrade)

    @contextmanager
    def read(self) -> Iterator[sql.Connection]:
        """Only read; each statement sees the database as it is then."""
        with self._reads.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sql.Connection]:
        """One transaction; with SQLite the only one that writes."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def now(self, connection: sql.Connection) -> float:
        """Return unix time by the one clock that all machines share."""
        if self.sqlite:
            return time.time()
        clock = connection.scalar(sql.text("SELECT extract(epoch FROM clock_timestamp())"))
        return float(clock or 0.0)

    def alone(self, connection: sql.Connection) -> bool:
        """Whether no other process sweeps until the end of this transaction."""
        if self.sqlite:
            return True  # as with all that writes
        return bool(connection.scalar(sql.text(f"SELECT pg_try_advisory_xact_lock({_SWEEP})")))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str) -> sql.Engine:
    place = sql.make_url(url)
    if place.drivername in {"postgresql", "postgres"}:
        place = place.set(drivername="postgresql+psycopg")
    if place.get_backend_name() != "sqlite":
        return sql.create_engine(place, pool_pre_ping=True)
    if place.database:
        Path(place.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(place, connect_args={"timeout": 30})

    @sql.event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions begin below
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    @sql.event.listens_for(engine, "begin")
    def began(connection: sql.Connection) -> None:
        # A transaction that reads first and writes later would fail when another one wrote.
        if connection.get_execution_options().get("writes"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
