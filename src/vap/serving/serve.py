"""Starts the service, and a worker beside it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from vap.serving.api.app import create_app
from vap.serving.jobs.worker import Worker
from vap.serving.settings import Settings

_FINISH = 5  # seconds for answers that are on their way when the service is told to stop


def serve(
    settings: Settings,
    *,
    worker: bool = True,
    extend: Callable[[FastAPI], None] | None = None,
    on_listen: Callable[[str], None] | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        settings: Of the service; port 0 stands for a free one.
        worker: Whether to make videos here, too.
        extend: Adds pages to the application.
        on_listen: Called with the address of the service once it listens.

    Raises:
        OSError: If the address cannot be listened on.
        ValueError: If other machines could use the service without a key.
    """
    app = create_app(settings)
    if extend is not None:
        extend(app)
    with _listening(settings) as listener:
        beside = Worker(settings) if worker else None
        thread = None if beside is None else threading.Thread(target=beside.run, daemon=True)
        if thread is not None:
            thread.start()
        if on_listen is not None:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            on_listen(f"http://{host}:{listener.getsockname()[1]}/")
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_FINISH,
        )
        try:
            _Server(config, app.state.service.stopping).run(sockets=[listener])
        finally:
            if beside is not None and thread is not None:
                beside.stop()
                thread.join(10)


class _Server(uvicorn.Server):
    """Tells those who follow events that the service ends; they would be waited for."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End all connections."""
        self._stopping.set()
        await super().shutdown(sockets)


def _listening(settings: Settings) -> socket.socket:
    family, *_, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    try:
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise OSError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}). Choose "
            "another --port, or 0 for a free one."
        ) from error
    # asyncio does this only for sockets of its own; without it an answer takes 40 ms longer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
