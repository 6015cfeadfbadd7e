"""The web page of a study."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field

from vap.evaluation.study.items import Item, in_order
from vap.evaluation.study.store import NONE, Answer, Store

_PAGE = files("vap.evaluation.study") / "page"
_HEADERS = {
    # Nothing is loaded from another host, and no other page shows this one.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LONGEST = 3600.0  # seconds: a rater who was away


class Picks(BaseModel):
    """What a rater sends: tokens of videos, empty for none."""

    model_config = ConfigDict(extra="forbid")

    semantics: str = Field(max_length=64)
    quality: str = Field(max_length=64)
    seconds: float = Field(0, ge=0, allow_inf_nan=False)


class Study:
    """Items and answers of a study.

    Attributes:
        store: The answers.
    """

    def __init__(self, items: Sequence[Item], store: Store) -> None:
        self.store = store
        self._items = {item.token: item for item in items}
        self._media: dict[str, Path] = {}
        for item in items:
            self._media.update([item.reference, item.image])
            self._media.update((each.token, each.video) for each in item.candidates)

    def media(self, token: str) -> Path:
        """Return the file behind a token.

        Raises:
            KeyError: If there is none.
        """
        return self._media[token]

    def state(self, rater: str) -> dict[str, Any]:
        """Return all that the page shows to a rater. JSON values."""
        done = {each.item: each for each in self.store.answers(rater)}
        return {
            "items": [
                {
                    "item": item.token,
                    "reference": item.reference[0],
                    "image": item.image[0],
                    "videos": [each.token for each in item.candidates],
                    "picks": _picks(item, done.get(item.token)),
                }
                for item in in_order(tuple(self._items.values()), rater)
            ]
        }

    def save(self, rater: str, token: str, picks: Picks) -> None:
        """Save what a rater picked.

        Raises:
            KeyError: If there is no such item, or a pick is none of its videos.
        """
        item = self._items[token]
        shown = next(
            each for each in in_order(tuple(self._items.values()), rater) if each.token == token
        )
        systems = {each.token: each.system for each in item.candidates} | {NONE: NONE}
        self.store.save(
            Answer(
                rater,
                token,
                item.case,
                item.seed,
                tuple(each.system for each in shown.candidates),
                systems[picks.semantics],
                systems[picks.quality],
                item.answer is not None,
                item.answer in (None, picks.semantics),
                min(picks.seconds, _LONGEST),
            )
        )


def _picks(item: Item, answer: Answer | None) -> dict[str, str] | None:
    """Tokens that a rater picked before."""
    if answer is None:
        return None
    tokens = {each.system: each.token for each in item.candidates} | {NONE: NONE}
    return {name: tokens.get(getattr(answer, name), NONE) for name in ("semantics", "quality")}


def make_app(study: Study) -> FastAPI:
    """Return the web application of a study."""
    app = FastAPI(title="Video-As-Prompt study", docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers.update(_HEADERS)
        return response

    @app.get("/page/{name}")
    def part(name: str) -> Response:
        kinds = {"study.js": "text/javascript", "study.css": "text/css"}
        if name not in kinds:
            raise HTTPException(404)
        return Response((_PAGE / name).read_text(encoding="utf-8"), media_type=kinds[name])

    @app.get("/media/{token}")
    def media(token: str) -> FileResponse:
        try:
            return FileResponse(study.media(token), headers={"Cache-Control": "private"})
        except KeyError:
            raise HTTPException(404) from None

    app.include_router(_rating(study))
    return app


def _rating(study: Study) -> APIRouter:
    """The routes of a rater."""
    router = APIRouter()

    def known(rater: str) -> str:
        if not study.store.has_rater(rater):
            raise HTTPException(404, "This link is not of this study. Open its start page.")
        return rater

    Rater = Annotated[str, Depends(known)]  # noqa: N806 - a type

    @router.get("/")
    def start() -> RedirectResponse:
        return RedirectResponse(f"/rate/{study.store.new_rater()}", status_code=303)

    @router.get("/rate/{rater}")
    def page(rater: Rater) -> HTMLResponse:
        del rater
        return HTMLResponse((_PAGE / "study.html").read_text(encoding="utf-8"))

    @router.get("/api/{rater}")
    def state(rater: Rater) -> dict[str, Any]:
        return study.state(rater)

    @router.put("/api/{rater}/{item}", status_code=204)
    def save(rater: Rater, item: str, picks: Picks) -> None:
        try:
            study.save(rater, item, picks)
        except KeyError:
            raise HTTPException(404, "There is no such item or video.") from None

    return router


def serve(app: FastAPI, host: str, port: int) -> None:
    """Serve until interrupted."""
    import uvicorn

    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)
