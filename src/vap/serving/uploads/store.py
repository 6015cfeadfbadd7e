"""Uploads and stored prompts: rows of the database, files of the media store."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import sqlalchemy as sql

from vap.serving.jobs.database import Database, jobs
from vap.serving.jobs.resolve import prompt_key, upload_key
from vap.serving.jobs.schema import metadata
from vap.serving.media_store import MediaStore
from vap.serving.uploads.kinds import Kind
from vap.serving.uploads.probe import Probed

_ID = re.compile(r"(upload|prompt)_[0-9a-f]{32}")

_uploads = sql.Table(
    "uploads",
    metadata,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(80), nullable=False, unique=True),
    sql.Column("owner", sql.String(80), nullable=False),
    sql.Column("name", sql.String(255), nullable=False),
    sql.Column("kind", sql.String(16), nullable=False),
    sql.Column("bytes", sql.BigInteger, nullable=False),
    sql.Column("sha256", sql.String(64), nullable=False),
    sql.Column("created_at", sql.Double, nullable=False),
    sql.Column("width", sql.Integer),
    sql.Column("height", sql.Integer),
    sql.Column("frames", sql.Integer),
    sql.Column("fps", sql.Double),
    sql.Column("seconds", sql.Double),
    sql.Index("uploads_of_owner", "owner", "sha256"),
)
_prompts = sql.Table(
    "prompts",
    metadata,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=True),
    sql.Column("id", sql.String(80), nullable=False, unique=True),
    sql.Column("owner", sql.String(80), nullable=False),
    sql.Column("upload", sql.String(80)),  # the reference video, unless it is encoded
    sql.Column("reference_prompts", sql.Text, nullable=False),
    sql.Column("created_at", sql.Double, nullable=False),
)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file of a client that has passed its check.

    Attributes:
        id: ``upload_…``.
        owner: Id of the API key; empty without keys.
        name: What the client calls it; only shown.
        kind: What it is.
        bytes: Its size.
        sha256: Of its contents.
        created_at: Unix seconds; of the last time, if it was uploaded again.
        width: Pixels.
        height: Pixels.
        frames: Of a video.
        fps: Of a video.
        seconds: Of a video.
    """

    id: str
    owner: str
    name: str
    kind: Kind
    bytes: int
    sha256: str
    created_at: float
    width: int | None
    height: int | None
    frames: int | None
    fps: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class StoredPrompt:
    """References to be used again by one id.

    Attributes:
        id: ``prompt_…``.
        owner: Id of the API key; empty without keys.
        upload: Id of the reference video; None for one that is encoded.
        reference_prompts: Captions of the references.
        created_at: Unix seconds.
    """

    id: str
    owner: str
    upload: str | None
    reference_prompts: tuple[str, ...]
    created_at: float


class Uploads:
    """The uploads and stored prompts of a service."""

    def __init__(self, database: Database, media: MediaStore) -> None:
        self._database = database
        self._media = media

    def add(self, path: Path, probed: Probed, owner: str, name: str) -> UploadedFile:
        """Store a file that was checked; the same file of the same owner keeps its id."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        there = _uploads.c.owner == owner, _uploads.c.sha256 == digest
        with self._database.read() as connection:
            row = connection.execute(_uploads.select().where(*there).limit(1)).first()
        if row is not None:
            return self._again(_upload(row))
        upload_id = f"upload_{secrets.token_hex(16)}"
        self._media.put(upload_key(upload_id), path)
        with self._database.write() as connection:
            upload = UploadedFile(
                upload_id,
                owner,
                name,
                probed.kind,
                path.stat().st_size,
                digest,
                self._database.now(connection),
                *(probed.width, probed.height, probed.frames, probed.fps, probed.seconds),
            )
            connection.execute(_uploads.insert().values(_values(upload)))
        return upload

    def _again(self, upload: UploadedFile) -> UploadedFile:
        """Count the age of an upload from now on."""
        with self._database.write() as connection:
            now = self._database.now(connection)
            row = _uploads.update().where(_uploads.c.id == upload.id)
            connection.execute(row.values(created_at=now))
        return replace(upload, created_at=now)

    def get(self, upload_id: str, owner: str) -> UploadedFile:
        """Return an upload of an owner.

        Raises:
            KeyError: If there is none.
        """
        mine = _uploads.c.id == _plain(upload_id), _uploads.c.owner == owner
        with self._database.read() as connection:
            row = connection.execute(_uploads.select().where(*mine)).one_or_none()
        if row is None:
            raise KeyError(upload_id)
        return _upload(row)

    def list(self, owner: str, *, limit: int = 100) -> Sequence[UploadedFile]:
        """Return the uploads of an owner, the newest first."""
        query = _uploads.select().where(_uploads.c.owner == owner)
        query = query.order_by(_uploads.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return [_upload(row) for row in connection.execute(query)]

    def delete(self, upload_id: str, owner: str) -> None:
        """Delete an upload; jobs that wait for it will fail.

        Raises:
            KeyError: If there is none.
        """
        self.get(upload_id, owner)
        with self._database.write() as connection:
            connection.execute(_uploads.delete().where(_uploads.c.id == upload_id))
        self._media.delete(upload_key(upload_id))

    def delete_unused(self, hours: float) -> None:
        """Delete uploads of that age that no job and no stored prompt uses."""
        with self._database.write() as connection:
            oldest = self._database.now(connection) - hours * 3600
            unused = (
                _uploads.c.created_at < oldest,
                ~sql.exists().where(jobs.c.request.contains(_uploads.c.id)),
                ~sql.exists().where(_prompts.c.upload == _uploads.c.id),
            )
            deleted = _uploads.delete().where(*unused).returning(_uploads.c.id)
            ids = list(connection.scalars(deleted))
        for upload_id in ids:
            self._media.delete(upload_key(upload_id))

    def bytes_of(self, owner: str) -> int:
        """Return the bytes of all uploads of an owner."""
        query = sql.select(sql.func.sum(_uploads.c.bytes)).where(_uploads.c.owner == owner)
        with self._database.read() as connection:
            return int(connection.scalar(query) or 0)

    def add_prompt(
        self,
        owner: str,
        captions: tuple[str, ...],
        *,
        upload: str | None = None,
        encoded: Path | None = None,
    ) -> StoredPrompt:
        """Store references under one id: an uploaded video, or an encoded file."""
        prompt_id = f"prompt_{secrets.token_hex(16)}"
        if encoded is not None:
            self._media.put(prompt_key(prompt_id), encoded)
        with self._database.write() as connection:
            now = self._database.now(connection)
            prompt = StoredPrompt(prompt_id, owner, upload, captions, now)
            values = {**_values(prompt), "reference_prompts": json.dumps(captions)}
            connection.execute(_prompts.insert().values(values))
        return prompt

    def prompt(self, prompt_id: str, owner: str) -> StoredPrompt:
        """Return a stored prompt of an owner.

        Raises:
            KeyError: If there is none.
        """
        mine = _prompts.c.id == _plain(prompt_id), _prompts.c.owner == owner
        with self._database.read() as connection:
            row = connection.execute(_prompts.select().where(*mine)).one_or_none()
        if row is None:
            raise KeyError(prompt_id)
        return _prompt(row)

    def prompts(self, owner: str, *, limit: int = 100) -> Sequence[StoredPrompt]:
        """Return the stored prompts of an owner, the newest first."""
        query = _prompts.select().where(_prompts.c.owner == owner)
        query = query.order_by(_prompts.c.number.desc()).limit(limit)
        with self._database.read() as connection:
            return [_prompt(row) for row in connection.execute(query)]

    def delete_prompt(self, prompt_id: str, owner: str) -> None:
        """Delete a stored prompt; a reference video stays as an upload.

        Raises:
            KeyError: If there is none.
        """
        self.prompt(prompt_id, owner)
        with self._database.write() as connection:
            connection.execute(_prompts.delete().where(_prompts.c.id == prompt_id))
        self._media.delete(prompt_key(prompt_id))


def _plain(text: str) -> str:
    """Refuse what cannot be an id, such as zero bytes, which PostgreSQL takes amiss."""
    if not _ID.fullmatch(text):
        raise KeyError(text)
    return text


def _values(value: UploadedFile | StoredPrompt) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _upload(row: sql.Row[tuple[object, ...]]) -> UploadedFile:
    return UploadedFile(**{name: getattr(row, name) for name in UploadedFile.__dataclass_fields__})


def _prompt(row: sql.Row[tuple[object, ...]]) -> StoredPrompt:
    found = StoredPrompt(**{name: getattr(row, name) for name in StoredPrompt.__dataclass_fields__})
    return replace(found, reference_prompts=tuple(json.loads(str(found.reference_prompts))))
