"""One request to one video, the same for command line, web page and HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vap.hub import BUNDLED_FOLDER, DEFAULT_MODEL, Offload, load_pipeline, resolve_folder
from vap.media import (
    FrameSelection,
    InputFile,
    MediaError,
    RunRecord,
    SheetRow,
    read_clip,
    read_image,
    write_run,
    write_sheet,
    write_video,
)
from vap.media.files import hash_file
from vap.media.pixels import Fit
from vap.prompts import VideoPrompt

OnStage = Callable[[str], None]
OnStep = Callable[[int, int], None]

_RECORDED_ELSEWHERE = frozenset({
    "image", "last_image", "references", "video_prompt", "prompt", "reference_prompts",
    "negative_prompt", "model", "seed", "fps", "expert",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to generate. Whatever is None is the model's own choice.

    Attributes:
        image: First frame.
        references: Reference videos: files or folders of frames.
        reference_prompts: Their captions; none, or one each.
        prompt: Caption of the video to be generated.
        negative_prompt: What to steer away from.
        video_prompt: File of references encoded before, in place of ``references``.
        last_image: Last frame (Wan).
        model: Bundled name, folder or Hub id.
        expert: Expert file in place of the model's own.
        height: Pixels.
        width: Pixels.
        num_frames: Pixel frames.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        use_dynamic_cfg: Whether the scale rises over the steps (CogVideoX).
        strength: How much the target reads the reference, 0 … 1.
        seed: Of the noise; drawn on the CPU, so that it means the same on every device.
        fps: Frames a second of the result.
        frame_selection: How frames of a reference are taken.
        fit: ``cover`` crops images and references to the size, ``stretch`` distorts them.
        dtype: Precision.
        device: Where to run.
        offload: Memory saving, see :func:`vap.load_pipeline`.
    """

    image: Path
    references: tuple[Path, ...] = ()
    reference_prompts: tuple[str, ...] = ()
    prompt: str = ""
    negative_prompt: str | None = None
    video_prompt: Path | None = None
    last_image: Path | None = None
    model: str = DEFAULT_MODEL
    expert: Path | None = None
    height: int | None = None
    width: int | None = None
    num_frames: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    use_dynamic_cfg: bool | None = None
    strength: float = 1.0
    seed: int = 0
    fps: float | None = None
    frame_selection: FrameSelection = "evenly"
    fit: Fit = "cover"
    dtype: str | None = None
    device: str | None = None
    offload: Offload | None = None


@dataclass(frozen=True, eq=False)
class Generation:
    """A generated video and how it came about.

    Attributes:
        frames: uint8 ``[T, H, W, 3]``.
        request: The request with every choice of the model filled in.
        record: What is needed to make it again.
        seconds: Time spent, by stage.
    """

    frames: np.ndarray
    request: GenerationRequest
    record: RunRecord
    seconds: dict[str, float] = field(default_factory=dict)


def demo_request() -> GenerationRequest:
    """The bundled demonstration: a reference and an image that the bundled model never saw.

    Raises:
        FileNotFoundError: If the package was installed without its demonstration files.
    """
    folder = BUNDLED_FOLDER / "demo"
    described = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    return GenerationRequest(
        image=folder / described["image"],
        references=(folder / described["reference"],),
        prompt=described["prompt"],
        reference_prompts=(described["reference_prompt"],),
        seed=described["seed"],
    )


def load_for(request: GenerationRequest) -> Any:
    """Load the pipeline that a request asks for."""
    return load_pipeline(
        request.model,
        dtype=request.dtype,
        device=request.device,
        expert=request.expert,
        offload=request.offload,
    )


def generate(
    request: GenerationRequest,
    pipeline: Any = None,
    *,
    on_stage: OnStage | None = None,
    on_step: OnStep | None = None,
) -> Generation:
    """Make the video of a request; nothing is written.

    Args:
        request: What to generate.
        pipeline: A loaded pipeline; by default the request's model is loaded.
        on_stage: Told the name of every stage as it starts.
        on_step: Told how many denoising steps are done, of how many.

    Raises:
        ValueError: If the request does not fit the model, or a file cannot be used.
        FileNotFoundError: If the model or a file is missing.
    """
    clock = _Clock(on_stage or (lambda _: None))
    _check(request)
    if pipeline is None:
        with clock.stage("load"):
            pipeline = load_for(request)
    pipeline.set_progress_bar_config(disable=True)
    request = filled_in(request, pipeline)
    with clock.stage("read references"):
        prompt = _video_prompt(request, pipeline)
    with clock.stage("generate"):
        frames = _run(request, pipeline, prompt, on_step)
    return Generation(frames, request, _record(request, prompt), clock.seconds)


def filled_in(request: GenerationRequest, pipeline: Any) -> GenerationRequest:
    """The request with the model's own settings wherever it leaves a choice."""
    native = pipeline.defaults.as_config()
    chosen = {name: value for name, value in native.items() if getattr(request, name) is None}
    transformer = pipeline.transformer
    return replace(
        request,
        **chosen,
        dtype=str(transformer.dtype).removeprefix("torch."),
        device=request.device or pipeline._execution_device.type,
    )


def save(generation: Generation, output: str | Path, sheet: str | Path | None = None) -> list[Path]:
    """Write a video, the record beside it and, if asked for, a contact sheet.

    Args:
        generation: What to write.
        output: ``.mp4``, ``.webm``, ``.gif``, or a folder of frames.
        sheet: ``.png`` with reference, image and result side by side.

    Returns:
        The paths written.
    """
    request, record = generation.request, generation.record
    assert request.fps is not None
    video = write_video(output, generation.frames, request.fps, metadata=record.embedded())
    written = [video, write_run(video, record)]
    if sheet is not None:
        written.append(write_sheet(sheet, sheet_rows(generation)))
    return written


def sheet_rows(generation: Generation) -> list[SheetRow]:
    """Rows of a contact sheet: each reference, the image, the result."""
    request = generation.request
    size = (generation.frames.shape[1], generation.frames.shape[2])
    captions = request.reference_prompts or ("",) * len(request.references)
    rows = []
    for path, caption in zip(request.references, captions, strict=True):
        clip = read_clip(path, size=size, fit=request.fit)
        rows.append(SheetRow("reference", clip.frames, caption))
    image = np.asarray(read_image(request.image))[None]
    rows.append(SheetRow("image", image, request.prompt))
    rows.append(SheetRow("result", generation.frames))
    return rows


def request_from(
    record: RunRecord,
    *,
    image: Path | None = None,
    references: tuple[Path, ...] = (),
    video_prompt: Path | None = None,
) -> GenerationRequest:
    """The request that made a recorded video, its inputs checked.

    Args:
        record: Read with :func:`vap.media.read_run`, or from inside the video.
        image: Where the image is now, if it has moved.
        references: Where the references are now, if they have moved.
        video_prompt: Where the video prompt is now, if it has moved.

    Raises:
        MediaError: If an input is missing or no longer what it was.
    """
    moved = {"image": (image,), "reference": references, "video_prompt": (video_prompt,)}
    found: dict[str, list[Path]] = {}
    for entry in record.inputs:
        position = len(found.setdefault(entry.role, []))
        candidates = [path for path in moved.get(entry.role, ()) if path is not None]
        path = candidates[position] if position < len(candidates) else entry.path
        found[entry.role].append(_unchanged(entry, path))
    return GenerationRequest(
        image=found["image"][0],
        references=tuple(found.get("reference", ())),
        reference_prompts=record.reference_prompts,
        prompt=record.prompt,
        negative_prompt=record.negative_prompt,
        video_prompt=next(iter(found.get("video_prompt", ())), None),
        last_image=next(iter(found.get("last_image", ())), None),
        expert=next(iter(found.get("expert", ())), None),
        model=record.model_path or record.model,
        seed=record.seed,
        fps=record.fps,
        **record.arguments,  # type: ignore[arg-type] - checked by the constructor
    )


def _check(request: GenerationRequest) -> None:
    if request.video_prompt is not None and request.references:
        message = "Give either reference videos or a video prompt, not both."
        raise ValueError(message)
    if request.reference_prompts and len(request.reference_prompts) != len(request.references):
        message = (
            f"There are {len(request.references)} references and "
            f"{len(request.reference_prompts)} reference prompts. Give one for each, or none."
        )
        raise ValueError(message)


def _video_prompt(request: GenerationRequest, pipeline: Any) -> VideoPrompt | None:
    if request.video_prompt is not None:
        return VideoPrompt.load(request.video_prompt)
    if not request.references:
        return None
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


def _run(
    request: GenerationRequest, pipeline: Any, prompt: VideoPrompt | None, on_step: OnStep | None
) -> np.ndarray:
    """Frames uint8 ``[T, H, W, 3]``."""

    def step_end(_: Any, index: int, __: Any, ___: dict[str, Any]) -> dict[str, Any]:
        if on_step is not None:
            on_step(index + 1, request.num_inference_steps or 0)
        return {}

    variant: dict[str, Any] = {}
    if pipeline.family == "cogvideox":
        variant["use_dynamic_cfg"] = request.use_dynamic_cfg
    if request.last_image is not None:
        if pipeline.family != "wan":
            message = "last_image is a feature of the Wan variant; leave it out for CogVideoX."
            raise ValueError(message)
        variant["last_image"] = request.last_image
    video = pipeline(
        request.image,
        request.prompt,
        negative_prompt=request.negative_prompt,
        video_prompt=prompt,
        reference_strength=request.strength,
        height=request.height,
        width=request.width,
        num_frames=request.num_frames,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        fit=request.fit,
        generator=torch.Generator().manual_seed(request.seed),
        output_type="np",
        callback_on_step_end=step_end,
        **variant,
    ).frames[0]
    return (video * 255).round().astype(np.uint8)


def _record(request: GenerationRequest, prompt: VideoPrompt | None) -> RunRecord:
    inputs = [_file("image", request.image)]
    if request.last_image is not None:
        inputs.append(_file("last_image", request.last_image))
    if request.expert is not None:
        inputs.append(_file("expert", request.expert))
    if request.video_prompt is not None:
        inputs.append(_file("video_prompt", request.video_prompt))
    elif prompt is not None:
        for path, source in zip(request.references, prompt.references, strict=True):
            absolute = str(path.resolve())
            inputs.append(InputFile("reference", source.name, source.sha256, absolute))
    folder = resolve_folder(request.model)
    bundled = folder.parent == BUNDLED_FOLDER
    local = Path(request.model).expanduser().is_dir()
    settings = {k: v for k, v in asdict(request).items() if k not in _RECORDED_ELSEWHERE}
    assert request.fps is not None
    return RunRecord(
        model=folder.name if local else request.model,
        model_path=str(folder.resolve()) if local and not bundled else None,
        model_id=None if local or bundled else request.model,
        prompt=request.prompt,
        seed=request.seed,
        fps=request.fps,
        reference_prompts=request.reference_prompts,
        negative_prompt=request.negative_prompt,
        arguments=settings,
        inputs=tuple(inputs),
    )


def _file(role: str, path: Path) -> InputFile:
    return InputFile(role, path.name, hash_file(path), str(path.resolve()))


def _unchanged(entry: InputFile, path: str | Path | None) -> Path:
    """The file of a recorded input, if it is still the same."""
    option = f"--{entry.role.replace('_', '-')}"
    if path is None or not Path(path).exists():
        message = (
            f"The {entry.role} {entry.name!r} of this run is not where it was "
            f"({path or 'its place is not recorded'}). Say where it is with {option}."
        )
        raise MediaError(message)
    file = Path(path)
    digest = read_clip(file, max_frames=1).sha256 if file.is_dir() else hash_file(file)
    if digest != entry.sha256:
        message = (
            f"{file} is not the {entry.role} that made this video: its contents have changed. "
            f"Give the original with {option}."
        )
        raise MediaError(message)
    return file


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
