"""``vap serve`` and ``vap worker``: videos over HTTP, and who makes them."""

from __future__ import annotations

import logging
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vap.cli import options
from vap.cli.console import messages, reporting

if TYPE_CHECKING:
    from vap.serving.settings import Settings

_PURPOSE = "serve videos"

Config = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="YAML file of settings. VAP_SERVE_… variables go before it."),
]
Data = Annotated[Path | None, typer.Option(help="Folder of database and media.")]
Models = Annotated[
    str | None,
    typer.Option("--models", metavar="NAMES", help="Models to offer, by commas; first is default."),
]

Experts = Annotated[
    list[str] | None,
    typer.Option(
        "--expert", metavar="NAME=FILE", help="An expert of the first model to offer; repeatable."
    ),
]


def serve(
    config: Config = None,
    data: Data = None,
    models: Models = None,
    experts: Experts = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on. Default: only this machine.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 for a free one.")] = None,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Whether to make videos here, too.")
    ] = True,
    captioner: options.Captioner = None,
    device: options.Device = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="First upgrade the database of an older vap.")
    ] = False,
) -> None:
    """Serve videos and the studio over HTTP, with one worker that makes them."""
    with reporting():
        settings = _settings(
            config,
            data=data,
            models=models,
            experts=experts or None,
            host=host,
            port=port,
            captioner=captioner,
            device=device,
        )
        if upgrade:
            from vap.serving.jobs.database import Database

            Database(settings.database_url, upgrade=True).close()
        _listen(settings, worker=worker)


def studio(
    config: Config = None,
    data: Data = None,
    models: Models = None,
    experts: Experts = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 for a free one.")] = None,
    captioner: options.Captioner = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Whether to open a browser.")
    ] = True,
    device: options.Device = None,
) -> None:
    """Make videos in the browser: start the service on this machine and open its page."""
    with reporting():
        settings = _settings(
            config,
            data=data,
            models=models,
            experts=experts or None,
            port=port,
            captioner=captioner,
            device=device,
        )
        _listen(_own(settings), worker=True, browser=browser)


def _own(settings: Settings) -> Settings:
    """Allow effects to be installed in the browser, unless others could, or it is set otherwise."""
    if settings.loopback and "allow_effect_uploads" not in settings.model_fields_set:
        return settings.model_copy(update={"allow_effect_uploads": True})
    return settings


def _listen(settings: Settings, *, worker: bool, browser: bool = False) -> None:
    from vap.serving.serve import serve as listen
    from vap.studio.pages import add_studio

    def tell(address: str) -> None:
        messages.print(f"Serving at {address} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(address)

    with suppress(KeyboardInterrupt):  # the way to end it
        listen(settings, worker=worker, extend=add_studio, on_listen=tell)


def worker(
    config: Config = None,
    data: Data = None,
    models: Models = None,
    experts: Experts = None,
    captioner: options.Captioner = None,
    device: options.Device = None,
) -> None:
    """Make the videos of a service; start one a GPU, on any machine."""
    with reporting():
        settings = _settings(
            config,
            data=data,
            models=models,
            experts=experts or None,
            captioner=captioner,
            device=device,
        )
        from vap.serving.jobs.worker import Worker

        worker_ = Worker(settings)
        messages.print(f"Worker {worker_.id} takes jobs (Ctrl-C ends it)")
        thread = threading.Thread(target=worker_.run)
        thread.start()
        with suppress(KeyboardInterrupt):  # the way to end it
            thread.join()
        worker_.stop()
        thread.join()


def _settings(config: Path | None, **given: Any) -> Settings:
    from vap.extras import require

    for module in ("sqlalchemy", "fastapi", "uvicorn"):
        require(module, extra="serve", purpose=_PURPOSE)
    from vap.serving.settings import read_settings

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("vap.serving").setLevel(logging.INFO)
    return read_settings(config, **given)
