"""Serves the files of the studio, which uses the service's own API and nothing else.

Plain JavaScript in place of Gradio: the page is a client of the durable jobs of ``/v1/videos``, so
a reload or a restart loses nothing (``docs/studio.md`` compares both).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

_PAGE = files("vap.studio") / "page"
_KINDS = {".css": "text/css", ".js": "text/javascript"}


def add_studio(app: FastAPI) -> None:
    """Serve the studio at ``/`` of an application, and each script and style of its folder."""

    @app.get("/", include_in_schema=False)
    def page() -> HTMLResponse:
        return HTMLResponse((_PAGE / "studio.html").read_text(encoding="utf-8"))

    for name in sorted(file.name for file in _PAGE.iterdir()):
        kind = _KINDS.get(name[name.rfind(".") :])
        if kind is not None:
            app.get(f"/studio/{name}", include_in_schema=False)(_sender(name, kind))


def _sender(name: str, kind: str) -> Callable[[], Response]:
    def send() -> Response:
        return Response((_PAGE / name).read_text(encoding="utf-8"), media_type=kind)

    return send
