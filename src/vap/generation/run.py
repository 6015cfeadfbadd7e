"""One request to one video, the same for command line, web page and HTTP."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vap.acceleration.plan import WantedVideo
from vap.files.names import full_name
from vap.generation.record import record_of, weights_of
from vap.generation.request import (
    GenerationRequest,
    check_inputs_kept,
    check_request,
    places_of,
)
from vap.loading.pipeline import default_device, load_pipeline
from vap.media.clip import read_clip, select_frames
from vap.media.images import read_image
from vap.media.records import RunRecord, writing_run
from vap.media.sheet import SheetRow, write_sheet
from vap.media.write import write_video
from vap.pipelines.video_prompt import VideoPrompt, saved_references

OnStage = Callable[[str], None]
OnStep = Callable[[int, int], None]
OnLatents = Callable[[Any, torch.Tensor], None]

_SHEET_COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Generation:
    """A generated video and how it came about."""

    frames: np.ndarray  # uint8 `[T, H, W, 3]`; T is 0 where another process decodes them
    request: GenerationRequest  # The request with every choice of the model filled in
    record: RunRecord  # What is needed to make it again
    # Indices of the frames that the model saw, for each of the request's references
    taken: tuple[tuple[int, ...], ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)  # Time spent, by stage


def loading_options(request: GenerationRequest) -> dict[str, Any]:
    """What ``vap.load_pipeline`` is given, most of it under the names of the request."""
    taken = inspect.signature(load_pipeline).parameters
    same = {each.name: getattr(request, each.name) for each in fields(request)}
    return {
        **{name: value for name, value in same.items() if name in taken},
        "name_or_path": request.model,
        "lora": request.scaled_loras,
        "video": _wanted(request),
    }


def _wanted(request: GenerationRequest) -> WantedVideo | None:
    """What memory has to suffice for, where it is planned."""
    on_cpu = torch.device(request.device or default_device()).type == "cpu"
    if on_cpu and request.memory is None:
        return None
    references = len(request.references)
    if request.video_prompt is not None:
        # A faulty file is refused where the request is checked.
        with suppress(OSError, ValueError):
            references = len(saved_references(request.video_prompt))
    return WantedVideo(request.height, request.width, request.num_frames, max(1, references))


def model_key(request: GenerationRequest) -> str:
    """Equal for requests that the same loaded pipeline serves."""
    return repr(sorted(loading_options(request).items()))


def load_for(request: GenerationRequest) -> Any:
    """Load the pipeline of a request."""
    return load_pipeline(**loading_options(request))


def encode_references(request: GenerationRequest, pipeline: Any) -> VideoPrompt:
    """The video prompt of a request's references."""
    return pipeline.encode_video_prompt(
        list(request.references),
        list(request.reference_prompts) or None,
        height=request.height,
        width=request.width,
        num_frames=request.num_frames,
        frame_selection=request.frame_selection,
        fit=request.fit,
        has_last_frame=request.last_image is not None,
        generator=torch.Generator().manual_seed(request.seed),
    )


def generate(
    request: GenerationRequest,
    pipeline: Any = None,
    *,
    load: Callable[[GenerationRequest], Any] = load_for,
    encode: Callable[[GenerationRequest, Any], VideoPrompt] = encode_references,
    decode: bool = True,
    checked: bool = False,
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
    on_latents: OnLatents | None = None,
) -> Generation:
    """Generate the video of a request, without writing it.

    Args:
        request: What to generate.
        pipeline: The request's model, if it is loaded already.
        load: Loads it otherwise.
        encode: Encodes the references as a video prompt.
        decode: Whether to decode the latents into frames; False in helper processes.
        checked: Whether ``check_request`` has already passed.
        on_stage: Called with the name of each stage when it starts.
        on_step: Called with the number of finished denoising steps and their total.
        on_latents: Called before it with the pipeline and the latents after the step.

    Raises:
        ValueError: If the request does not fit the model, a file cannot be used, or the model
            gives non-finite values.
        FileNotFoundError: If the model or a file is missing.
    """
    clock = _Clock(on_stage or (lambda _: None))
    if not checked:
        check_request(request)
    if pipeline is None:
        with clock.stage("load"):
            pipeline = load(request)
    pipeline.set_progress_bar_config(disable=True)
    _check_variant(request, pipeline)
    request = filled_in(request, pipeline)
    with clock.stage("encode"):
        prompt = None
        if request.video_prompt is not None:
            prompt = VideoPrompt.load(request.video_prompt)
        elif request.references:
            prompt = encode(request, pipeline)
        # Before the long part, so that a file that disappears meanwhile does no harm.
        quantized = getattr(getattr(pipeline, "memory_plan", None), "quantize", None)
        record = record_of(request, prompt, weights_of(pipeline), quantized)
    with clock.stage("generate"):
        arguments = _arguments(request, pipeline, prompt, on_step, on_latents)
        video = pipeline(**arguments, output_type="np" if decode else "latent").frames[0]
    if decode:
        frames = (video * 255).round().astype(np.uint8)
    else:
        frames = np.empty((0, request.height or 0, request.width or 0, 3), np.uint8)
    sources = prompt.references if prompt is not None and request.references else ()
    taken = tuple(source.frames for source in sources)
    return Generation(frames, request, record, taken, clock.seconds)


def filled_in(request: GenerationRequest, pipeline: Any) -> GenerationRequest:
    """The request with the model's own settings wherever it leaves a choice."""
    native = pipeline.defaults.as_config()
    chosen = {name: value for name, value in native.items() if getattr(request, name) is None}
    transformer = pipeline.transformer
    return replace(
        request,
        **chosen,
        model=full_name(request.model),
        dtype=str(transformer.dtype).removeprefix("torch."),
        device=request.device or pipeline._execution_device.type,
    )


def save(generation: Generation, output: str | Path, sheet: str | Path | None = None) -> list[Path]:
    """Write a video, its record and, if ``sheet`` is given, a contact sheet.

    Args:
        generation: What to write.
        output: ``.mp4``, ``.webm``, ``.gif``, or a folder of frames.
        sheet: ``.png`` with reference, image and result side by side.

    Returns:
        The paths written.

    Raises:
        MediaError: If one of them is an input, or cannot be written.
    """
    request, record = generation.request, generation.record
    check_inputs_kept((path for _, path in request.inputs), places_of(output, sheet))
    assert request.fps is not None
    # First the record, so that no video stays without it when the disk is full.
    with writing_run(output, record) as beside:
        video = write_video(generation.frames, output, request.fps, metadata=record.embedded())
    written = [video, beside]
    if sheet is not None:
        written.append(write_sheet(sheet, sheet_rows(generation), _SHEET_COLUMNS))
    return written


def sheet_rows(generation: Generation) -> list[SheetRow]:
    """Rows of a contact sheet: each reference as the model saw it, the image, the result."""
    request = generation.request
    size = (generation.frames.shape[1], generation.frames.shape[2])
    captions = request.reference_prompts or ("",) * len(request.references)
    rows = []
    for path, caption, taken in zip(request.references, captions, generation.taken, strict=True):
        shown = select_frames(len(taken), min(len(taken), _SHEET_COLUMNS))
        indices = [taken[place] for place in shown]
        clip = read_clip(path, size=size, fit=request.fit, frame_indices=indices)
        rows.append(SheetRow("reference", clip.frames, caption))
    image = np.asarray(read_image(request.image))[None]
    rows.append(SheetRow("image", image))
    rows.append(SheetRow("result", generation.frames, request.prompt))
    return rows


def _check_variant(request: GenerationRequest, pipeline: Any) -> None:
    """Refuse what the model's variant has no use for; a record would say that it had been used."""
    if request.last_image is not None and pipeline.family != "wan":
        raise ValueError("last_image is a feature of the Wan variant; leave it out for CogVideoX.")
    if request.use_dynamic_cfg and pipeline.family != "cogvideox":
        raise ValueError(
            "use_dynamic_cfg (--dynamic-guidance) is a feature of the CogVideoX variant; leave it "
            "out for Wan."
        )


def _arguments(
    request: GenerationRequest,
    pipeline: Any,
    prompt: VideoPrompt | None,
    on_step: OnStep | None,
    on_latents: OnLatents | None,
) -> dict[str, Any]:
    """The request as arguments of a pipeline's call, which have the names of its fields."""

    def step_end(_: Any, index: int, __: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if on_latents is not None:
            on_latents(pipeline, tensors["latents"])
        if on_step is not None:
            on_step(index + 1, pipeline.num_timesteps)
        return {}

    # The references' prompts are in the video prompt.
    taken = inspect.signature(type(pipeline).__call__).parameters.keys() - {"reference_prompts"}
    named = (each.name for each in fields(request) if each.name in taken)
    return {
        **{name: getattr(request, name) for name in named},
        "video_prompt": prompt,
        "generator": torch.Generator().manual_seed(request.seed),
        "callback_on_step_end": step_end,
    }


class _Clock:
    """Times stages as they pass."""

    def __init__(self, on_stage: OnStage) -> None:
        self._on_stage = on_stage
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._on_stage(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)
