"""The settings of a service and its workers: a YAML file, environment, options."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from vap.acceleration.plan import Profile
from vap.files.names import DEFAULT_MODEL
from vap.serving.strict import Strict
from vap.serving.uploads.probe import ProbeLimits

ENVIRONMENT = "VAP_SERVE_"
"""Prefix of the variables that change a setting, such as ``VAP_SERVE_DATABASE``."""

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"


def data_folder() -> Path:
    """Return where a service keeps its files unless told otherwise."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "video-as-prompt" / "service"


class ExpertFile(Strict):
    """An expert that requests may choose.

    Attributes:
        file: Written by ``vap expert extract`` or a training.
        model: Whose backbone it was trained on; None for the default model.
    """

    file: Path
    model: str | None = None


class Settings(Strict):
    """What a service and its workers share.

    Attributes:
        data: Folder of the database and of media, unless these are elsewhere.
        database: SQLAlchemy URL; empty for a SQLite file in ``data``.
        media: fsspec URL of uploads and videos; empty for a folder in ``data``.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        models: Models that this service offers and its workers make; the first is the default.
        experts: Expert files that requests may choose by name, in place of the model's own.
        profile: Of requests that name none.
        device: Where the model runs; None for the best device.
        memory: What the model may take, as ``vap generate --memory`` has it.
        captioner: Who writes missing captions, as ``vap caption --captioner`` has it; None for what
            VAP_CAPTIONER names.
        max_queued: Jobs that may wait; further ones are refused.
        max_attempts: Workers that a job may lose before it fails.
        lease_seconds: Time without a sign of life after which a worker's job goes to another.
        job_seconds: Time after which a running job fails.
        retention_hours: Time from the end of a job to its deletion, with its video; 0 for never.
        disk_quota: Bytes of videos above which the oldest are deleted; 0 for no quota.
        require_key: Whether a key is needed on this machine, too, while there is none.
        allowed_hosts: Names other than localhost that a service on loopback answers to.
        cors_origins: Sites whose pages may use the service, such as ``https://example.com``.
        requests_per_minute: Of a key; 0 for no limit.
        max_queued_per_key: Jobs of a key that wait or run.
        upload_bytes: Most bytes of a request with files.
        upload_quota: Most bytes of all uploads of a key; 0 for no quota.
        upload_hours: Time after which an upload is deleted that no job and no stored prompt uses; 0
            for never.
        upload_seconds: Longest video.
        upload_pixels: Most pixels of a frame or image.
        upload_memory: Bytes of the process that checks an upload.
        upload_time: Seconds of that process.
        upload_checks: Uploads that are checked at the same time.
        allow_urls: Whether images are fetched from URLs.
        allow_private_addresses: Whether webhooks and URLs may lead into private networks.
        allow_effect_uploads: Whether clients may install effects.
        content_filter: Score, 0 … 1, from which the content filter refuses images and videos; None
            for no filter.
    """

    data: Path = Field(default_factory=data_folder)
    database: str = ""
    media: str = ""
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    models: tuple[str, ...] = Field((DEFAULT_MODEL,), min_length=1)
    experts: dict[Annotated[str, Field(pattern=_NAME)], ExpertFile] = Field(default_factory=dict)
    profile: Profile | None = None
    device: str | None = None
    memory: str | None = None
    captioner: str | None = None
    max_queued: int = Field(1000, ge=1)
    max_attempts: int = Field(3, ge=1)
    lease_seconds: float = Field(15.0, gt=0)
    job_seconds: float = Field(4 * 3600, gt=0)
    retention_hours: float = Field(7 * 24, ge=0)
    disk_quota: int = Field(0, ge=0)
    require_key: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    requests_per_minute: int = Field(600, ge=0)
    max_queued_per_key: int = Field(100, ge=1)
    upload_bytes: int = Field(256 * 1024**2, ge=1)
    upload_quota: int = Field(20 * 1024**3, ge=0)
    upload_hours: float = Field(7 * 24, ge=0)
    upload_seconds: float = Field(120.0, gt=0)
    upload_pixels: int = Field(4096 * 2304, ge=1)
    upload_memory: int = Field(2 * 1024**3, ge=1)
    upload_time: int = Field(60, ge=1)
    upload_checks: int = Field(2, ge=1)
    allow_urls: bool = False
    allow_private_addresses: bool = False
    allow_effect_uploads: bool = False
    content_filter: float | None = Field(None, ge=0, le=1)

    @field_validator("models", "allowed_hosts", "cors_origins", mode="before")
    @classmethod
    def _by_commas(cls, given: Any) -> Any:
        return tuple(given.split(",")) if isinstance(given, str) else given

    @field_validator("experts", mode="before")
    @classmethod
    def _by_names(cls, given: Any) -> Any:
        """Read ``NAME=FILE``, by commas or as a list; in a mapping, a file alone is enough."""
        if isinstance(given, str):
            given = given.split(",")
        if isinstance(given, list | tuple):
            for each in given:
                if "=" not in str(each):
                    raise ValueError(f"The expert {each!r} must be NAME=FILE.")
            given = dict(str(each).partition("=")[::2] for each in given)
        if isinstance(given, dict):
            return {k: {"file": v} if isinstance(v, str) else v for k, v in given.items()}
        return given

    @model_validator(mode="after")
    def _have_models(self) -> Self:
        for name, expert in self.experts.items():
            if name in self.models:
                raise ValueError(f"The expert {name!r} has the name of a model. Rename it.")
            if expert.model not in (None, *self.models):
                raise ValueError(
                    f"The expert {name!r} is for the model {expert.model!r}, which is not among "
                    f"the models: {', '.join(self.models)}. Add the model."
                )
        return self

    def experts_of(self, model: str) -> dict[str, Path]:
        """Return the expert files of a model, by name."""
        default = self.models[0]
        return {
            name: expert.file
            for name, expert in self.experts.items()
            if (expert.model or default) == model
        }

    @property
    def database_url(self) -> str:
        """The URL of the database."""
        return self.database or f"sqlite:///{self.data / 'jobs.sqlite'}"

    @property
    def media_url(self) -> str:
        """The URL of the folder of media."""
        return self.media or str(self.data / "media")

    @property
    def probe_limits(self) -> ProbeLimits:
        """What the process that decodes an upload may take."""
        return ProbeLimits(
            self.upload_seconds,
            self.upload_pixels,
            self.upload_memory,
            self.upload_time,
            self.content_filter,
        )

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the service."""
        return self.host in {"127.0.0.1", "localhost", "::1"}


def read_settings(
    path: Path | None = None, environment: Mapping[str, str] | None = None, **options: Any
) -> Settings:
    """Read settings: options come before the environment, and that before the file.

    Args:
        path: YAML file; none for defaults.
        environment: Variables whose names start with :data:`ENVIRONMENT`; by default the process's.
        options: Fields of :class:`Settings`; None counts as not given.

    Raises:
        ValueError: If a setting is unknown or out of range.
    """
    fields: dict[str, Any] = {}
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is no YAML: {error}. Correct it.") from error
        if not isinstance(content, dict):
            raise ValueError(f"{path} must have one setting a line, such as 'port: 8000'.")
        fields.update(content)
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT):
            fields[name.removeprefix(ENVIRONMENT).lower()] = value
    fields.update((name, value) for name, value in options.items() if value is not None)
    return Settings.model_validate(fields)
