"""What the routes share: queue, media, keys, uploads."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Annotated, cast

import anyio
from fastapi import Depends, Request

from vap.serving.api.status import Statuses
from vap.serving.jobs.queue import Jobs
from vap.serving.keys import Key, Keys
from vap.serving.limits import RateLimits
from vap.serving.media_store import MediaStore
from vap.serving.outbound import Outbound
from vap.serving.settings import Settings
from vap.serving.uploads.store import Uploads


@dataclass(frozen=True)
class Service:
    """The parts of a service."""

    settings: Settings
    jobs: Jobs
    statuses: Statuses
    media: MediaStore
    keys: Keys
    uploads: Uploads
    rates: RateLimits
    outbound: Outbound
    # Files that are decoded at the same time. Other requests do not wait for them.
    checks: anyio.CapacityLimiter
    # Predictions and captions, each in a process of its own.
    estimates: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    captions: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))
    # Set when the service ends.
    stopping: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """Return the service of these settings."""
        jobs, media = Jobs(settings), MediaStore(settings.media_url)
        return cls(
            settings,
            jobs,
            Statuses(jobs),
            media,
            Keys(jobs.database),
            Uploads(jobs.database, media),
            RateLimits(),
            Outbound(settings.allow_private_addresses),
            anyio.CapacityLimiter(settings.upload_checks),
        )


# Asynchronous, so that they take no thread each.
async def _service(request: Request) -> Service:
    return cast("Service", request.app.state.service)


async def _key(request: Request) -> Key | None:
    return cast("Key | None", request.state.key)


async def _owner(request: Request) -> str:
    key = await _key(request)
    return "" if key is None else key.id


Shared = Annotated[Service, Depends(_service)]
"""The service, in a route."""

Caller = Annotated[Key | None, Depends(_key)]
"""The API key of a request, in a route."""

Owner = Annotated[str, Depends(_owner)]
"""Id of that key, empty without one, in a route."""
