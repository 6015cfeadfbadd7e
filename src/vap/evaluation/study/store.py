"""Answers of raters in SQLite: a random word for each rater, and nothing about the person."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

NAME = "study.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS study (secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS raters (rater TEXT PRIMARY KEY, started TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    rater TEXT NOT NULL REFERENCES raters (rater),
    item TEXT NOT NULL,
    case_name TEXT NOT NULL,
    seed INTEGER NOT NULL,
    shown TEXT NOT NULL,
    semantics TEXT NOT NULL,
    quality TEXT NOT NULL,
    is_check INTEGER NOT NULL,
    passed INTEGER NOT NULL,
    seconds REAL NOT NULL,
    answered TEXT NOT NULL,
    PRIMARY KEY (rater, item)
);
"""

NONE = ""
"""The pick of a rater for whom no video is the best."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a rater picked.

    Attributes:
        rater: The rater's random word.
        item: Token of the item.
        case: Name of the case.
        seed: Of the noise.
        shown: Systems in the order in which the rater saw them.
        semantics: System with the best semantics; :data:`NONE` for none.
        quality: System with the best quality; :data:`NONE` for none.
        is_check: Whether this was an attention check.
        passed: Whether the check was passed; true for questions.
        seconds: Time from the first sight of the item to the answer.
    """

    rater: str
    item: str
    case: str
    seed: int
    shown: tuple[str, ...]
    semantics: str
    quality: str
    is_check: bool
    passed: bool
    seconds: float


class Store:
    """Raters and answers; several processes may use the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as connection:
            connection.executescript(_TABLES)
            # One secret, whichever process is first.
            connection.execute(
                "INSERT INTO study SELECT ? WHERE NOT EXISTS (SELECT 1 FROM study)",
                (secrets.token_hex(16),),
            )

    @property
    def secret(self) -> str:
        """Return what the tokens of this study are made with."""
        with self._open() as connection:
            return str(connection.execute("SELECT secret FROM study").fetchone()[0])

    def new_rater(self) -> str:
        """Add a rater, and return the word that the link holds."""
        rater = secrets.token_urlsafe(12)
        with self._open() as connection:
            connection.execute("INSERT INTO raters VALUES (?, ?)", (rater, _now()))
        return rater

    def has_rater(self, rater: str) -> bool:
        """Whether there is such a rater."""
        with self._open() as connection:
            found = connection.execute("SELECT 1 FROM raters WHERE rater = ?", (rater,))
            return found.fetchone() is not None

    def save(self, answer: Answer) -> None:
        """Save an answer, in place of an earlier one of the same rater to the same item."""
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    answer.rater,
                    answer.item,
                    answer.case,
                    answer.seed,
                    ",".join(answer.shown),
                    answer.semantics,
                    answer.quality,
                    answer.is_check,
                    answer.passed,
                    answer.seconds,
                    _now(),
                ),
            )

    def answers(self, rater: str | None = None) -> list[Answer]:
        """Return all answers, or those of one rater, in the order of time."""
        query = (
            "SELECT rater, item, case_name, seed, shown, semantics, quality, is_check, passed, "
            "seconds FROM answers WHERE ? IS NULL OR rater = ? ORDER BY answered, rater, item"
        )
        with self._open() as connection:
            rows = connection.execute(query, (rater, rater)).fetchall()
        return [
            Answer(
                rater,
                item,
                case,
                seed,
                tuple(shown.split(",")),
                best,
                looks,
                bool(check),
                bool(ok),
                t,
            )
            for rater, item, case, seed, shown, best, looks, check, ok, t in rows
        ]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with closing(sqlite3.connect(self._path, timeout=30)) as connection, connection:
            yield connection


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
