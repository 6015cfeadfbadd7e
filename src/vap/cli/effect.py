"""``vap effect``: effects to keep, share and use by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vap.cli import options
from vap.cli.console import messages, reporting, results, show_json
from vap.cli.options import App

if TYPE_CHECKING:
    from vap.effects.effect import Effect

app = App(help="Keep, share and use effects by name.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name or id of an effect, or its folder.")]


@app.command("list")
def list_effects(as_json: options.AsJson = False) -> None:
    """List all effects: bundled and installed."""
    with reporting(as_json=as_json):
        from vap.effects.library import effects

        found = effects()
        if as_json:
            show_json([effect.as_json() for effect in found])
            return
        table = Table("name", "category", "what happens", box=None)
        for effect in found:
            table.add_row(effect.name, effect.category, effect.description or effect.title)
        results.print(table)
        messages.print("Use one: vap generate --effect NAME --image FILE -o out.mp4")


@app.command("show")
def show(name: Name, as_json: options.AsJson = False) -> None:
    """Show the contents of an effect."""
    with reporting(as_json=as_json):
        from vap.effects.library import find_effect

        _show(find_effect(name), as_json=as_json)


@app.command("install")
def install(
    source: Annotated[
        Path, typer.Argument(help="Folder or .zip of an effect, or owner/name on the Hub.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an installed effect of the same name.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Install an effect, or an openeffect pack."""
    with reporting(as_json=as_json):
        from vap.effects.library import install as add

        _show(add(source, replace=replace), as_json=as_json)


@app.command("remove")
def remove(name: Annotated[str, typer.Argument(help="Name of an installed effect.")]) -> None:
    """Remove an installed effect."""
    with reporting():
        from vap.effects.library import remove as drop

        messages.print(f"Removed {drop(name)}.", soft_wrap=True)


@app.command("export")
def export(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .zip file to write.")],
) -> None:
    """Export an effect as one .zip file."""
    with reporting():
        from vap.effects.library import export as pack
        from vap.effects.library import find_effect

        messages.print(f"  {pack(find_effect(name), output)}", soft_wrap=True)


@app.command("create")
def create(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to create.")],
    name: Annotated[str, typer.Option(help="Name or author/name, in lower case.")],
    reference: Annotated[Path | None, typer.Option(help="Reference video.")] = None,
    video_prompt: Annotated[
        Path | None, typer.Option(help="Encoded reference, in place of --reference.")
    ] = None,
    reference_prompt: Annotated[str, typer.Option(help="Caption of the reference.")] = "",
    prompt: Annotated[
        str,
        typer.Option(help="Caption of a result; {subject} stands for the caption of the image."),
    ] = "",
    title: Annotated[str, typer.Option(help="Display name. Default: derived from the name.")] = "",
    description: Annotated[str, typer.Option(help="What happens.")] = "",
    category: Annotated[str, typer.Option(help="concept, style, motion, camera …")] = "",
    author: Annotated[str, typer.Option(help="Author of the effect.")] = "",
    license_name: Annotated[
        str, typer.Option("--license", help="License of the files, such as CC0-1.0.")
    ] = "",
    hint: Annotated[str, typer.Option(help="Which images it suits.")] = "",
    preview: Annotated[
        Path | None, typer.Option(help="Example video of the effect. Default: the reference.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Image that the preview was generated from.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="The model that the effect is for. Default: any.")
    ] = "",
    num_inference_steps: options.Steps = None,
    guidance_scale: options.GuidanceScale = None,
    reference_guidance_scale: options.ReferenceGuidance = None,
    strength: options.Strength = None,
    as_json: options.AsJson = False,
) -> None:
    """Create an effect from a reference video."""
    with reporting(as_json=as_json):
        from vap.effects.create import create_effect

        settings = {
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "reference_guidance_scale": reference_guidance_scale,
            "strength": strength,
        }
        effect = create_effect(
            output,
            name=name,
            title=title,
            reference=reference,
            video_prompt=video_prompt,
            preview=preview,
            image=image,
            reference_prompt=reference_prompt,
            prompt=prompt,
            model=model,
            settings={key: value for key, value in settings.items() if value is not None},
            description=description,
            category=category,
            author=author,
            license=license_name,
            hint=hint,
        )
        _show(effect, as_json=as_json)


def _show(effect: Effect, *, as_json: bool) -> None:
    found = effect.as_json()
    if as_json:
        show_json(found)
        return
    table = Table.grid(padding=(0, 2))
    for key, value in found.items():
        if value not in ("", [], {}, False):
            table.add_row(key.replace("_", " "), str(value))
    results.print(table)
