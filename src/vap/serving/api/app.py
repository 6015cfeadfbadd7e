"""The web application of the service."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from vap import __version__
from vap.serving.api import (
    captions,
    catalog,
    content,
    effects,
    estimates,
    events,
    files,
    metrics,
    videos,
)
from vap.serving.api.documents import add_documents
from vap.serving.api.errors import add_handlers
from vap.serving.api.gate import Gate
from vap.serving.api.service import Service
from vap.serving.api.shown import shown_video
from vap.serving.content_filter import filter_package
from vap.serving.experts import expert_blocks
from vap.serving.settings import Settings
from vap.serving.webhooks import Webhooks


def create_app(settings: Settings) -> FastAPI:
    """Return the application; ``app.state.service`` has its parts.

    Raises:
        MissingExtraError: If there shall be a content filter, and it is not installed.
        ValueError: If other machines could use it without a key, or an expert file is none.
        FileNotFoundError: If an expert file is missing.
    """
    for expert in settings.experts.values():
        expert_blocks(expert.file)
    service = Service.of(settings)
    if not settings.loopback and not service.keys.any():
        raise ValueError(
            f"Other machines can reach {settings.host}, and there is no API key. Make one with "
            "`vap keys create`, or listen on 127.0.0.1."
        )
    if settings.content_filter is not None:
        filter_package()  # now, rather than at the first upload, if it is not installed
    app = FastAPI(
        title="Video-As-Prompt",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.service = service
    for part in (videos, content, events, files, effects, catalog, estimates, captions, metrics):
        app.include_router(part.router)
    add_handlers(app)
    add_documents(app)
    app.add_middleware(Gate, service=service, observe=metrics.add_metrics(app, service))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key"],
            expose_headers=["openai-poll-after-ms"],
        )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Deliver webhooks as long as the application runs."""
    service: Service = app.state.service
    webhooks = Webhooks(
        service.jobs,
        service.keys,
        service.outbound,
        lambda job: shown_video(job).model_dump(mode="json"),
    )
    thread = threading.Thread(target=webhooks.run, daemon=True)
    thread.start()
    yield
    webhooks.stop()
    thread.join()
    service.jobs.database.close()
