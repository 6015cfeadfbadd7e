"""Starts the service, and a worker beside it."""

from __future__ import annotations

import threading

import uvicorn

from vap.serving.api.app import create_app
from vap.serving.jobs.worker import Worker
from vap.serving.settings import Settings


def serve(settings: Settings, *, worker: bool = True) -> None:
    """Serve until interrupted."""
    app = create_app(settings)
    beside = Worker(settings) if worker else None
    thread = None if beside is None else threading.Thread(target=beside.run, daemon=True)
    if thread is not None:
        thread.start()
    try:
        uvicorn.run(
            app, host=settings.host, port=settings.port, log_level="warning", access_log=False
        )
    finally:
        if beside is not None and thread is not None:
            beside.stop()
            thread.join(10)
