"""API keys: stored as hashes, compared in constant time, read once a second."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sql

from vap.serving.jobs.database import Database
from vap.serving.jobs.schema import metadata

_KEY = re.compile(r"vap_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NO_HASH = "0" * 64
_FRESH = 1.0  # seconds for which a key that another process revoked may still pass

_Rows: TypeAlias = Mapping[str, sql.Row[Any]]

_keys = sql.Table(
    "keys",
    metadata,
    sql.Column("id", sql.String(40), primary_key=True),
    sql.Column("name", sql.String(200), nullable=False),
    # Of a secret with 256 random bits: nothing slower than SHA-256 is needed.
    sql.Column("hash", sql.String(64), nullable=False),
    sql.Column("created_at", sql.Double, nullable=False),
    sql.Column("revoked_at", sql.Double),
    sql.Column("priority", sql.Integer, nullable=False),
    sql.Column("requests_per_minute", sql.Integer),
    sql.Column("max_queued", sql.Integer),
)
# One secret of the service, from which those of webhooks are made.
_secrets = sql.Table(
    "secrets",
    metadata,
    sql.Column("name", sql.String(40), primary_key=True),
    sql.Column("value", sql.String(100), nullable=False),
)


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret. Times are unix seconds.

    Attributes:
        id: Owner of jobs and uploads.
        name: For people.
        created_at: When it was made.
        revoked_at: Since when it is refused.
        priority: Of its jobs; higher ones are made first.
        requests_per_minute: None for the service's limit.
        max_queued: Jobs that may wait or run; None for the service's limit.
    """

    id: str
    name: str
    created_at: float
    revoked_at: float | None
    priority: int
    requests_per_minute: int | None
    max_queued: int | None


class Keys:
    """The API keys of a service.

    A request must not wait for the database only to show its key, so the table is read at most once
    a second, and for a key that is not in it.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._rows: _Rows = {}
        self._read_at: float | None = None

    def create(
        self,
        name: str,
        *,
        priority: int = 0,
        requests_per_minute: int | None = None,
        max_queued: int | None = None,
    ) -> tuple[Key, str]:
        """Make a key, and return it with the text that a client sends, which is not stored."""
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        values = {
            "id": key_id,
            "name": name,
            "hash": _hash(secret),
            "priority": priority,
            "requests_per_minute": requests_per_minute,
            "max_queued": max_queued,
        }
        with self._database.write() as connection:
            values["created_at"] = self._database.now(connection)
            connection.execute(_keys.insert().values(values))
        self._read()
        return self.get(key_id), f"vap_{key_id}_{secret}"

    def in_memory(self, text: str) -> bool:
        """Whether :meth:`check` and :meth:`any` answer without the database."""
        match = _KEY.fullmatch(text)
        return self._is_fresh() and (match is None or match[1] in self._rows)

    def check(self, text: str) -> Key | None:
        """Return the key that a client sent, or None if it is not one, or revoked."""
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        row = (self._rows if self.in_memory(text) else self._read()).get(match[1])
        right = hmac.compare_digest(_hash(match[2]), _NO_HASH if row is None else row.hash)
        return _key(row) if row is not None and right and row.revoked_at is None else None

    def get(self, key_id: str) -> Key:
        """Return a key by its id.

        Raises:
            KeyError: If there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(_keys.select().where(_keys.c.id == key_id)).one_or_none()
        if row is None:
            raise KeyError(key_id)
        return _key(row)

    def list(self) -> Sequence[Key]:
        """Return all keys, the oldest first."""
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(_keys.select().order_by("created_at"))]

    def any(self, *, revoked: bool = False) -> bool:
        """Whether there is a key, those that are revoked left out unless asked for."""
        rows = self._rows if self._is_fresh() else self._read()
        return any(revoked or row.revoked_at is None for row in rows.values())

    def revoke(self, key_id: str) -> Key:
        """Refuse a key from now on.

        Raises:
            KeyError: If there is none.
        """
        with self._database.write() as connection:
            now = self._database.now(connection)
            there = _keys.c.id == key_id, _keys.c.revoked_at.is_(None)
            connection.execute(_keys.update().where(*there).values(revoked_at=now))
        self._read()
        return self.get(key_id)

    def webhook_secret(self, owner: str) -> str:
        """Return the secret that signs the webhooks of an owner, as Standard Webhooks have it."""
        digest = hmac.digest(self._service_secret(), f"webhook {owner}".encode(), "sha256")
        return "whsec_" + base64.b64encode(digest).decode()

    def _is_fresh(self) -> bool:
        return self._read_at is not None and self._clock() - self._read_at < _FRESH

    def _read(self) -> _Rows:
        began = self._clock()
        with self._database.read() as connection:
            rows = {row.id: row for row in connection.execute(_keys.select())}
        self._rows, self._read_at = rows, began
        return rows

    def _service_secret(self) -> bytes:
        """Return the secret of the service, made at first use."""
        query = sql.select(_secrets.c.value).where(_secrets.c.name == "service")
        with self._database.read() as connection:
            value = connection.scalar(query)
        if value is None:
            try:
                with self._database.write() as connection:
                    made = {"name": "service", "value": secrets.token_hex(32)}
                    connection.execute(_secrets.insert().values(made))
            except sql.exc.IntegrityError:  # another process was faster
                pass
            return self._service_secret()
        return bytes.fromhex(value)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: sql.Row[tuple[object, ...]]) -> Key:
    return Key(**{name: getattr(row, name) for name in Key.__dataclass_fields__})
