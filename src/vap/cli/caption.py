"""``vap caption``: have captions written, to look at, edit and use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vap.cli import options
from vap.cli.console import (
    messages,
    note,
    progress_bar,
    quiet_libraries,
    reporting,
    results,
    show_json,
)
from vap.process import is_first, launched

if TYPE_CHECKING:
    from vap.generation.request import GenerationRequest

_NOBODY = (
    "nobody writes captions: give --captioner gemini, openai:URL#MODEL or local:MODEL, or set "
    "VAP_CAPTIONER"
)


def caption(
    references: options.References = None,
    image: options.Image = None,
    reference_prompts: options.ReferencePrompts = None,
    prompt: options.Prompt = None,
    model: options.Model = None,
    captioner: options.Captioner = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="To write, .json: for --prompts."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the captions of a reference and of the video to be made."""
    with reporting(as_json=as_json):
        from dataclasses import asdict

        from vap.captioning import write_prompts
        from vap.files.names import DEFAULT_MODEL, check_model

        _check_files(references or [], image, output)
        check_model(model or DEFAULT_MODEL)
        quiet_libraries()
        with _writing(shown=not as_json):
            written = write_prompts(
                references or (),
                image,
                reference_prompts=reference_prompts or (),
                prompt=prompt or "",
                model=model or DEFAULT_MODEL,
                captioner=captioner,
            )
        complete = all(written.reference_prompts) and (image is None or bool(written.prompt))
        if not complete:
            note(f"captions are empty, as {_NOBODY}.")
        if output is not None:
            written.save(output)
            messages.print(f"  {output}", soft_wrap=True)
        if as_json:
            show_json(asdict(written))
            return
        named = [("reference", text) for text in written.reference_prompts]
        for name, text in [*named, ("prompt", written.prompt)]:
            if text:
                results.print(f"{name}: {text}", soft_wrap=True)


def _check_files(references: list[Path], image: Path | None, output: Path | None) -> None:
    """Refuse files that cannot be used."""
    from vap.generation.request import check_inputs_kept, check_place
    from vap.media import probe_clip, read_image

    images = [] if image is None else [image]
    if not references and not images:
        raise ValueError("Give a --reference, an --image, or both: captions describe them.")
    if output is not None:
        check_place(output)
        check_inputs_kept([*references, *images], [output])
    for path in references:
        probe_clip(path)
    for path in images:
        read_image(path)


def with_captions(
    request: GenerationRequest, captioner: str | None, effect: str | None, *, shown: bool
) -> GenerationRequest:
    """A request with the captions that it lacks, as far as a writer is configured."""
    from vap.files.names import bundled_model

    if launched() and captioner not in {None, "none"}:
        raise ValueError(
            "--captioner cannot be used by several processes. Write the captions first (vap "
            "caption … -o prompts.json) and give them with --prompts prompts.json."
        )
    if not request.references and request.video_prompt is None:
        return request
    if not launched():
        from vap.captioning import with_prompts
        from vap.effects.library import find_effect

        found = None if effect is None else find_effect(effect)
        with _writing(shown=shown):
            asked, request = request, with_prompts(request, captioner, effect=found)
        if request is not asked:
            note(f"captions by {request.captions_by}. Prompt: {request.prompt}")
    if is_first() and not request.prompt and bundled_model(request.model) is None:
        note(f"the prompt is empty, which costs quality: give --prompt. Now {_NOBODY}.")
    return request


@contextmanager
def _writing(*, shown: bool) -> Iterator[None]:
    with progress_bar(shown=shown and messages.is_terminal) as bar:
        bar.add_task("write captions", total=None)
        yield
