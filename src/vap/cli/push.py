"""``vap push``: share an expert, a LoRA or an effect on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vap.cli import options
from vap.cli.console import messages, quiet_libraries, reporting, show_json


def push(
    source: Annotated[
        Path, typer.Argument(help="Expert or LoRA (.safetensors or its folder), or an effect.")
    ],
    repository: Annotated[str, typer.Argument(help="Where on the Hub: owner/name.")],
    license_name: Annotated[
        str, typer.Option("--license", help="License of the weights, such as apache-2.0.")
    ] = "",
    model: Annotated[
        str, typer.Option(help="The model that the weights are for, such as wan or a Hub id.")
    ] = "",
    public: Annotated[
        bool, typer.Option("--public/--private", help="Who can see a new repository.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Upload nothing; with -o, write the repository.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder to write with --dry-run.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Upload an expert, a LoRA or an effect to the Hugging Face Hub. Asks first."""
    with reporting(as_json=as_json):
        if output is not None and not dry_run:
            raise ValueError("-o is the folder that --dry-run writes. Give --dry-run, too.")
        quiet_libraries()
        from vap.sharing.package import packaged
        from vap.sharing.push import check_token, existing_visibility
        from vap.sharing.push import push as upload

        with packaged(source, repository, license_name=license_name, model=model) as package:
            if not dry_run:
                check_token()
            visibility = "public" if public else "private"
            found = None if dry_run else existing_visibility(repository)
            messages.print(
                f"{package.kind}, license {package.license}, to "
                f"{found or f'a new {visibility}'} repository {repository} on the Hub:",
                soft_wrap=True,
            )
            for name, size in package.sizes.items():
                messages.print(f"  {name}  {size:,} bytes", soft_wrap=True)
            place = None
            if dry_run:
                if output is not None:
                    package.write(output)
                    place = str(output)
            else:
                if not yes:
                    typer.confirm("Upload these files?", abort=True, err=True)
                place = upload(package, repository, private=not public)
            if as_json:
                show_json(
                    {
                        "repository": repository,
                        "kind": package.kind,
                        "license": package.license,
                        "visibility": found or visibility,
                        "files": package.sizes,
                        "uploaded": not dry_run,
                        "place": place,
                    }
                )
            elif place:
                messages.print(f"  {place}", soft_wrap=True)
