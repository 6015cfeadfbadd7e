"""Assembles ``vap`` from its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from vap import __version__
from vap.cli import (
    batch,
    caption,
    data,
    data_encode,
    data_synth,
    doctor,
    effect,
    evaluate,
    expert,
    generate,
    keys,
    models,
    prompt,
    push,
    serve,
    train,
)
from vap.cli.options import App, WithAdvanced

app = App(
    name="vap",
    help="Video-As-Prompt: animate an image with the semantics of a reference video.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate", cls=WithAdvanced)(generate.generate)
app.command("caption")(caption.caption)
app.command("batch")(batch.batch)
app.command("models")(models.models)
app.command("doctor")(doctor.doctor)
app.command("push")(push.push)
app.command("serve")(serve.serve)
app.command("studio")(serve.studio)
app.command("worker")(serve.worker)
app.add_typer(keys.app, name="keys")
app.command("train")(train.train)
app.add_typer(prompt.app, name="prompt")
app.add_typer(expert.app, name="expert")
app.add_typer(effect.app, name="effect")
data.app.command("encode")(data_encode.encode)
data.app.add_typer(data_synth.app, name="synth")
app.add_typer(data.app, name="data")
app.add_typer(evaluate.app, name="eval")


def _version(value: bool) -> None:
    if value:
        typer.echo(f"vap {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Animate an image with the semantics of a reference video."""
