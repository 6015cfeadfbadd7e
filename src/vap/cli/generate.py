"""``vap generate``: an image, moved by the meaning of a reference video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vap.cli.console import messages, progress_bar, quiet_libraries, reporting, show_json

if TYPE_CHECKING:
    from vap.generation import Generation, GenerationRequest


def generate(
    image: Annotated[Path | None, typer.Option(help="First frame of the video.")] = None,
    reference: Annotated[
        list[Path] | None, typer.Option(help="Reference video or folder of frames; repeatable.")
    ] = None,
    prompt: Annotated[str, typer.Option(help="Caption of the video to make.")] = "",
    reference_prompt: Annotated[
        list[str] | None, typer.Option(help="Caption of each reference, in order.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to steer away from.")] = None,
    video_prompt: Annotated[
        Path | None, typer.Option(help="References encoded before by `vap prompt encode`.")
    ] = None,
    last_image: Annotated[Path | None, typer.Option(help="Last frame (Wan).")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help=".mp4, .webm, .gif, or a folder/")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help=".png with reference, image and result side by side.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="Bundled name, pipeline folder or Hub id.")
    ] = "vap-mini",
    expert: Annotated[Path | None, typer.Option(help="Expert file to use.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; the model's own by default.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; the model's own by default.")] = None,
    frames: Annotated[int | None, typer.Option(help="1 + 4k; the model's own by default.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 turns it off.")] = None,
    dynamic_guidance: Annotated[
        bool | None, typer.Option(help="Let guidance rise over the steps (CogVideoX).")
    ] = None,
    strength: Annotated[
        float, typer.Option(help="0 ignores the reference, 1 is the trained model.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Same seed, same video.")] = 0,
    fps: Annotated[float | None, typer.Option(help="Frames a second of the result.")] = None,
    selection: Annotated[
        Literal["evenly", "first", "random"], typer.Option(help="Which frames of a reference.")
    ] = "evenly",
    fit: Annotated[
        Literal["cover", "stretch"], typer.Option(help="Crop or distort inputs to the size.")
    ] = "cover",
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps …")] = None,
    offload: Annotated[
        Literal["model", "group", "sequential"] | None,
        typer.Option(help="Save accelerator memory."),
    ] = None,
    repeat: Annotated[
        Path | None, typer.Option(help="Make the video of this file (or its .json) again.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Use the bundled reference, image and captions.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Animate an image with the semantics of a reference video."""
    with reporting(as_json=as_json):
        from vap.generation import GenerationRequest, demo_request

        quiet_libraries()
        place = _output(output, repeat)
        if repeat is not None:
            request = _repeated(repeat, image, tuple(reference or ()), video_prompt)
        elif demo:
            request = demo_request()
        else:
            if image is None:
                message = "--image is missing: the picture that becomes the first frame."
                raise ValueError(message)
            request = GenerationRequest(
                image=image,
                references=tuple(reference or ()),
                reference_prompts=tuple(reference_prompt or ()),
                prompt=prompt,
                negative_prompt=negative_prompt,
                video_prompt=video_prompt,
                last_image=last_image,
                model=model,
                expert=expert,
                height=height,
                width=width,
                num_frames=frames,
                num_inference_steps=steps,
                guidance_scale=guidance,
                use_dynamic_cfg=dynamic_guidance,
                strength=strength,
                seed=seed,
                fps=fps,
                frame_selection=selection,
                fit=fit,
                dtype=dtype,
                device=device,
                offload=offload,
            )
        _run(request, place, sheet, as_json=as_json)


def _run(request: GenerationRequest, output: Path, sheet: Path | None, *, as_json: bool) -> None:
    from vap.generation import generate as make
    from vap.generation import save

    with progress_bar(shown=not as_json and messages.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        made = make(
            request,
            on_stage=lambda stage: bar.update(task, description=stage),
            on_step=lambda done, total: bar.update(task, completed=done, total=total),
        )
        bar.update(task, description="write", completed=None)
        written = save(made, output, sheet)
    if as_json:
        show_json(_summary(made, written))
        return
    total = sum(made.seconds.values())
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in made.seconds.items())
    messages.print(f"Made {len(made.frames)} frames in {total:.1f} s ({stages}).")
    for path in written:
        messages.print(f"  {path}", soft_wrap=True)


def _summary(made: Generation, written: list[Path]) -> dict[str, object]:
    frames, height, width, _ = made.frames.shape
    return {
        "written": [str(path) for path in written],
        "frames": frames,
        "height": height,
        "width": width,
        "fps": made.request.fps,
        "seconds": made.seconds,
        "record": made.record.embedded(),
    }


def _output(output: Path | None, repeat: Path | None) -> Path:
    """Where to write, checked before anything slow happens."""
    if output is None:
        message = "-o/--output is missing: where to write the video, for example -o out.mp4."
        raise ValueError(message)
    if repeat is not None and output.exists() and output.samefile(repeat):
        message = f"-o {output} is the video to be repeated. Choose another name."
        raise ValueError(message)
    if not output.absolute().parent.is_dir():
        message = f"The folder {output.absolute().parent} does not exist. Create it first."
        raise FileNotFoundError(message)
    return output


def _repeated(
    repeat: Path, image: Path | None, references: tuple[Path, ...], video_prompt: Path | None
) -> GenerationRequest:
    """The request behind a video, from the JSON beside it or from inside it."""
    from vap.generation import request_from
    from vap.media import MediaError, RunRecord, read_metadata, read_run

    try:
        record = read_run(repeat)
    except MediaError:
        embedded = read_metadata(repeat)
        if embedded is None:
            raise
        record = RunRecord.from_json(json.dumps(embedded), repeat)
    return request_from(record, image=image, references=references, video_prompt=video_prompt)
