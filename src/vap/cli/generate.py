"""``vap generate``: animate an image with the semantics of a reference video."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vap.cli import options
from vap.cli.caption import with_captions
from vap.cli.console import (
    LESS_MEMORY,
    ending_together,
    in_options,
    messages,
    note_demonstration,
    option,
    progress_bar,
    quiet_libraries,
    reporting,
    show_json,
    show_notes,
)
from vap.process import is_first, launched

if TYPE_CHECKING:
    from vap.generation.request import GenerationRequest
    from vap.generation.run import Generation
    from vap.pipelines.reference_report import ReferenceReport

# What may be given together with --repeat: places, and what does not change the video.
_SINGLE_INPUTS = ("image", "video_prompt", "last_image", "expert", "student", "backbone")
_REPEATABLE = (*_SINGLE_INPUTS, "references", "lora", "model", "device", "offload", "memory")
# Of these, what decides how the weights are held.
_PLACING = frozenset({"device", "offload", "memory"})
_OF_THE_CHECK = ("other_reference", "other_prompt")
# What --demo brings itself.
_OF_THE_DEMO = (
    *("image", "references", "reference_prompts", "prompt", "video_prompt", "last_image"),
    "effect",
)


def generate(
    image: options.Image = None,
    references: options.References = None,
    prompt: options.Prompt = None,
    reference_prompts: options.ReferencePrompts = None,
    prompts: options.PromptsFile = None,
    captioner: options.Captioner = None,
    negative_prompt: options.NegativePrompt = None,
    video_prompt: options.VideoPromptFile = None,
    effect: options.Effect = None,
    last_image: options.LastImage = None,
    frame_selection: options.Selection = None,
    fit: options.Fit = None,
    demo: options.Demo = False,
    repeat: options.Repeat = None,
    output: options.Output = None,
    sheet: options.Sheet = None,
    check_reference: options.CheckReference = False,
    other_reference: options.OtherReference = None,
    other_prompt: options.OtherPrompt = None,
    as_json: options.AsJson = False,
    height: options.Height = None,
    width: options.Width = None,
    num_frames: options.Frames = None,
    fps: options.Rate = None,
    num_inference_steps: options.Steps = None,
    guidance_scale: options.GuidanceScale = None,
    reference_guidance_scale: options.ReferenceGuidance = None,
    use_dynamic_cfg: options.DynamicGuidance = None,
    strength: options.Strength = None,
    seed: options.Seed = None,
    model: options.Model = None,
    expert: options.ExpertFile = None,
    backbone: options.BackboneFile = None,
    lora: options.Loras = None,
    student: options.StudentFile = None,
    distilled: options.Distilled = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    offload: options.Offload = None,
    memory: options.Memory = None,
    quantize: options.Quantize = None,
    profile: options.Profile = None,
    parallel: options.Parallel = None,
    help_all: options.HelpAll = False,
) -> None:
    """Animate an image with the semantics of a reference video."""
    given = locals()
    advice = f"{LESS_MEMORY} On an accelerator, --offload model (or group) helps, too."
    with (
        ending_together(),
        reporting(as_json=as_json and is_first(), memory_advice=advice, words=in_options),
    ):
        _check_parallel(parallel)
        from vap.generation.request import (
            check_inputs_kept,
            check_output,
            check_request,
            places_of,
        )

        if output is None:
            raise ValueError(
                "-o/--output is missing: where to write the video, for example -o out.mp4."
            )
        if is_first():
            check_output(output, sheet)
        _check_captions(given)
        request = _request(_chosen(given), repeat, prompts, demo=demo)
        check_request(request)
        _check_comparison(request, given)
        if is_first():
            inputs = [*(path for _, path in request.inputs), *_repeated_files(repeat)]
            check_inputs_kept(inputs, places_of(output, sheet))
        # Not before: the libraries take seconds to import.
        quiet_libraries()
        from vap.generation.run import generate as make
        from vap.generation.run import save

        if is_first():
            show_notes()
            if not as_json:
                note_demonstration(request.model)
        if repeat is None and not demo:
            request = with_captions(request, captioner, effect, shown=not as_json)
        with _progress(request, shown=is_first() and not as_json) as progress:
            pipeline = _loaded_to_compare(request, given, progress)
            if launched():
                from vap.generation.together import generate_together
                from vap.parallel.mesh import Mesh

                mesh = None if parallel is None else Mesh.parse(parallel)
                made = generate_together(request, mesh, **progress)
            else:
                made = make(request, pipeline, checked=True, **progress)
            if not is_first():
                return
            if repeat is not None:
                _note_weights(repeat, made)
            progress["on_stage"]("write")
            written = save(made, output, sheet)
            report = _compared(made, pipeline, given, progress)
        _report(made, written, report, as_json=as_json)


def _chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a request that options were given for."""
    from dataclasses import fields

    from vap.generation.request import GenerationRequest

    named = {field.name: given.get(field.name) for field in fields(GenerationRequest)}
    chosen: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in named.items()
        if value not in (None, [], ())
    }
    if "expert" in chosen:
        from vap.files.shared import expert_path

        chosen["expert"] = expert_path(chosen["expert"])
    if "lora" in chosen:
        loras = [options.scaled(text) for text in chosen["lora"]]
        chosen["lora"] = tuple(path for path, _ in loras)
        chosen["lora_scales"] = tuple(scale for _, scale in loras)
    return chosen


def _repeated_files(repeat: Path | None) -> list[Path]:
    """The video to repeat and its record; the user may name either."""
    from vap.generation.request import places_of

    if repeat is None:
        return []
    return places_of(repeat.with_suffix("") if repeat.suffix.lower() == ".json" else repeat)


def _check_captions(given: Mapping[str, Any]) -> None:
    """Refuse captions where others are used."""
    idle = {name for name in ("prompts", "captioner") if given[name] is not None}
    for name in ("repeat", "demo"):
        if given[name]:
            _refuse(idle, f"--{name} brings its own captions")


def _request(
    chosen: dict[str, Any], repeat: Path | None, prompts: Path | None, *, demo: bool
) -> GenerationRequest:
    """The request that the options describe."""
    from dataclasses import replace

    from vap.generation.request import GenerationRequest, demo_request

    if repeat is not None:
        if demo:
            raise ValueError("--repeat and --demo exclude each other. Leave one out.")
        return _repeated(repeat, chosen)
    if demo:
        _refuse(chosen.keys() & _OF_THE_DEMO, "--demo brings its own inputs")
        return replace(demo_request(), **chosen)
    if "image" not in chosen:
        raise ValueError("--image is missing. Give the first frame of the video.")
    if prompts is not None:
        from vap.captioning import read_prompts

        chosen = read_prompts(prompts).request() | chosen
    if "effect" in chosen:
        from vap.effects.library import find_effect

        chosen = find_effect(chosen["effect"]).applied_to(chosen)
    return GenerationRequest(**chosen)


def _repeated(repeat: Path, chosen: dict[str, Any]) -> GenerationRequest:
    """The request stored in a video; options give the new paths of its inputs."""
    from dataclasses import replace

    from vap.generation.record import (
        changed_versions,
        has_other_weights,
        quantized_in,
        recorded_run,
        request_from,
    )

    _refuse(chosen.keys() - _REPEATABLE, "--repeat makes the same video again")
    record = recorded_run(repeat)
    for name, (then, now) in changed_versions(record).items():
        messages.print(f"note: made with {name} {then}, here is {now}: pixels may differ slightly.")
    moved = {role: (chosen[role],) for role in _SINGLE_INPUTS if role in chosen}
    moved["reference"] = chosen.get("references", ())
    moved["lora"] = chosen.get("lora", ())
    request = request_from(record, moved=moved, model=chosen.get("model"))
    if has_other_weights(record, request.model):
        messages.print("note: the model is not the one that made this video: its weights differ.")
    if "device" in chosen:
        # How memory was saved belongs to the other device.
        request = replace(request, device=chosen["device"], offload=None, memory=None)
    if "offload" in chosen or "memory" in chosen:
        request = replace(request, offload=chosen.get("offload"), memory=chosen.get("memory"))
    if request.memory is None or chosen.keys() & _PLACING:
        # A memory plan quantized the weights, and may not do so now. With the same memory it will.
        request = replace(request, quantize=quantized_in(record))
    return request


def _note_weights(repeat: Path, made: Generation) -> None:
    """Warn if the memory plan quantizes the weights differently from the original run."""
    from vap.generation.record import quantized_in, recorded_run

    then, now = (quantized_in(record) or "full" for record in (recorded_run(repeat), made.record))
    if then != now:
        messages.print(
            f"note: the video was made with weights in {then} precision; this run uses {now} "
            "precision, so pixels differ slightly."
        )


def _refuse(names: set[str], why: str) -> None:
    """Refuse options that would have no effect."""
    if names:
        idle = sorted(map(option, names))
        raise ValueError(f"{why}. Leave out {', '.join(idle)}.")


def _check_parallel(parallel: str | None) -> None:
    """Refuse what cannot be shared, before anything is loaded."""
    if parallel is None:
        return
    if not launched():
        raise ValueError(
            "--parallel needs several processes. Start them with: torchrun --nproc-per-node 2 -m "
            "vap generate … (or vap.parallel in Python)."
        )
    from vap.parallel.mesh import Mesh

    Mesh.parse(parallel)


def _check_comparison(request: GenerationRequest, given: Mapping[str, Any]) -> None:
    """Refuse a comparison that cannot be made, and options of one that is not made."""
    from vap.generation.check_reference import check_can_compare

    if not given["check_reference"]:
        idle = {name for name in _OF_THE_CHECK if given[name] is not None}
        _refuse(idle, "Only --check-reference compares with another reference")
        return
    if launched():
        raise ValueError("--check-reference compares in one process. Run it without torchrun.")
    check_can_compare(request, given["other_reference"])


def _loaded_to_compare(
    request: GenerationRequest, given: Mapping[str, Any], progress: Mapping[str, Any]
) -> Any:
    """The pipeline for several videos; None for one, which loads its own."""
    from vap.generation.run import load_for

    if not given["check_reference"]:
        return None
    progress["on_stage"]("load")
    return load_for(request)


def _compared(
    made: Generation, pipeline: Any, given: Mapping[str, Any], progress: Mapping[str, Any]
) -> ReferenceReport | None:
    from vap.generation.check_reference import check_reference

    if not given["check_reference"]:
        return None
    other = {"other": given["other_reference"], "other_prompt": given["other_prompt"] or ""}
    return check_reference(made, pipeline, **other, **progress)


@contextmanager
def _progress(request: GenerationRequest, *, shown: bool) -> Iterator[dict[str, Any]]:
    """Callbacks that move a progress bar on the terminal."""
    from vap.files.names import local_model

    shown = shown and messages.is_terminal
    with progress_bar(shown=shown) as bar:
        task = bar.add_task("start", total=None)

        def on_stage(stage: str) -> None:
            if shown and local_model(request.model) is None:
                # A download shows bars of its own.
                (bar.stop if stage == "load" else bar.start)()
            bar.update(task, description=stage)

        def on_step(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield {"on_stage": on_stage, "on_step": on_step}


def _report(
    made: Generation, written: list[Path], report: ReferenceReport | None, *, as_json: bool
) -> None:
    if as_json:
        compared = {} if report is None else {"reference_report": report.summary()}
        show_json({**_summary(made, written), **compared})
        return
    total = sum(made.seconds.values())
    stages = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in made.seconds.items())
    messages.print(f"Made {len(made.frames)} frames in {total:.1f} s ({stages}).")
    for path in written:
        messages.print(f"  {path}", soft_wrap=True)
    for line in report.lines() if report else ():
        messages.print(line)


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
