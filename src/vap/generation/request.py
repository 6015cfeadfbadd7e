"""What to generate, and whether that can be done, found out before anything slow happens."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vap.acceleration.plan import Offload, Profile, Quantization, dtype_name, memory_bytes
from vap.devices import check_device
from vap.files.errors import MediaError, refusal
from vap.files.folders import family_of, generation_defaults_of, native_video, scheduler_config
from vap.files.names import BUNDLED_FOLDER, DEFAULT_MODEL, check_model, full_name, local_model
from vap.files.reading import reading
from vap.media.clip import FrameSelection, probe_clip
from vap.media.images import STILL_SUFFIXES, read_image
from vap.media.pixels import Fit
from vap.media.records import record_path
from vap.media.timing import exact_rate
from vap.media.write import FORMATS, check_frames_folder
from vap.shapes import PixelShape, check_steps, check_strength

_VIDEO_SUFFIXES = (*FORMATS, ".gif")
_SEEDS = 1 << 63
_MOST_STEPS, _MOST_REFERENCES = 10_000, 100  # far beyond what serves anybody
_FARTHEST = 8  # times the pixels of the model's own size, or of that size in a model's own
_LONGEST_NAME = 255  # bytes, on the file systems of all that this runs on

SINGLE_INPUTS = ("image", "last_image", "expert", "student", "backbone", "video_prompt")
"""Fields of a request that name one file each, in the order of a record."""


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What to generate. For each field that is None, the model's own value applies.

    Attributes:
        image: First frame.
        references: Reference videos: files or folders of frames.
        reference_prompts: Their captions; none, or one each.
        prompt: Caption of the video to be generated.
        negative_prompt: Text describing what to avoid.
        video_prompt: File of encoded references, in place of ``references``.
        last_image: Last frame (Wan).
        model: Bundled name, folder or Hub id.
        expert: Expert file in place of the model's own.
        student: Distilled LoRA to merge into the backbone.
        backbone: File to take the backbone from (Wan).
        lora: LoRA files to merge into the weights.
        lora_scales: Scale of each LoRA; none, or one each.
        distilled: Name of a published distilled LoRA, see ``vap.load_pipeline``.
        height: Pixels.
        width: Pixels.
        num_frames: Pixel frames.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        reference_guidance_scale: Guidance by the references; needs one more pass of the backbone.
        use_dynamic_cfg: Whether ``guidance_scale`` rises over the steps (CogVideoX).
        strength: How closely to follow the reference, 0 … 1.
        seed: Seed of the noise, 0 … 2⁶³ − 1; the noise is drawn on the CPU, so it is the same on
            every device.
        fps: Frames per second of the result.
        frame_selection: How to choose the frames of a reference.
        fit: ``cover`` crops images and references to the size, ``stretch`` distorts them.
        dtype: Precision.
        device: Where to run.
        offload: Memory saving, see ``vap.load_pipeline``.
        memory: Memory limit, see ``vap.load_pipeline``.
        quantize: ``int8`` or ``fp8`` for the backbone's weights.
        profile: ``exact``, ``fast`` or ``turbo``.
        effect: Id of the effect that brought references and settings, for the record.
        captions_by: Who wrote the captions that were not given, for the record.
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
    student: Path | None = None
    backbone: Path | None = None
    lora: tuple[Path, ...] = ()
    lora_scales: tuple[float, ...] = ()
    distilled: str | None = None
    height: int | None = None
    width: int | None = None
    num_frames: int | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    reference_guidance_scale: float | None = None
    use_dynamic_cfg: bool | None = None
    strength: float = 1.0
    seed: int = 0
    fps: float | None = None
    frame_selection: FrameSelection = "evenly"
    fit: Fit = "cover"
    dtype: str | None = None
    device: str | None = None
    offload: Offload | None = None
    memory: str | None = None
    quantize: Quantization | None = None
    profile: Profile | None = None
    effect: str | None = None
    captions_by: str | None = None

    @property
    def inputs(self) -> tuple[tuple[str, Path], ...]:
        """Role and path of every input file and folder of frames, except the model."""
        single = ((role, getattr(self, role)) for role in SINGLE_INPUTS)
        references = (("reference", path) for path in self.references)
        loras = (("lora", path) for path in self.lora)
        return (*((role, path) for role, path in single if path is not None), *loras, *references)

    @property
    def scaled_loras(self) -> list[tuple[Path, float]]:
        """LoRA files, each with its scale."""
        return list(zip(self.lora, self.lora_scales or [1.0] * len(self.lora), strict=True))


def demo_request() -> GenerationRequest:
    """The bundled demonstration: a reference and an image that the bundled model never saw."""
    folder = BUNDLED_FOLDER / "demo"
    described = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    return GenerationRequest(
        image=folder / described["image"],
        references=(folder / described["reference"],),
        prompt=described["prompt"],
        reference_prompts=(described["reference_prompt"],),
        seed=described["seed"],
    )


def check_settings(request: GenerationRequest) -> None:
    """Refuse what no model can do; no image, video or file of weights is read."""
    _check_numbers(request)
    _check_model(request)
    _check_texts(request)
    _check_counts(request)


def check_request(request: GenerationRequest) -> None:
    """Refuse what no model can do, and files that cannot be used, before a model is loaded."""
    check_settings(request)
    for reference in request.references:
        probe_clip(reference)
    read_image(request.image)
    if request.last_image is not None:
        read_image(request.last_image)
    # Reading weights imports torch, which takes longer than everything before.
    if request.expert is not None:
        from vap.models.expert_file import read_expert_info

        read_expert_info(request.expert)
    if request.lora_scales and len(request.lora_scales) != len(request.lora):
        raise ValueError(
            f"LoRA files: {len(request.lora)}, scales: {len(request.lora_scales)}. Give one scale "
            "for each file, or none."
        )
    if request.lora:
        from vap.models.lora_file import lora_path

        for path in request.lora:
            lora_path(path)
    if request.backbone is not None and not request.backbone.is_file():
        raise FileNotFoundError(f"The backbone file {request.backbone} does not exist.")
    if request.student is not None:
        from vap.acceleration.student import taught_steps

        taught_steps(request.student)
    if request.video_prompt is not None:
        from vap.pipelines.video_prompt import VideoPrompt

        VideoPrompt.load(request.video_prompt)


def check_output(output: str | Path, sheet: str | Path | None = None) -> None:
    """Refuse places that cannot be written to."""
    video = Path(output)
    _check_file_name(video)
    if video.is_dir() or not video.suffix:
        check_frames_folder(video)
        # It is replaced in its folder; of a link, that is where the link leads to.
        check_folder_place(os.path.realpath(video))
        _check_parent(Path(os.path.realpath(video)))
    elif video.suffix.lower() not in _VIDEO_SUFFIXES:
        raise MediaError(
            f"{video}: the video format {video.suffix!r} is not supported. Use one of "
            f"{', '.join(_VIDEO_SUFFIXES)}, or a name without suffix for a folder of PNG."
        )
    else:
        check_place(video)
    if sheet is not None and Path(sheet).suffix.lower() != ".png":
        raise MediaError(f"{sheet}: contact sheets are PNG. Use a name that ends with .png.")
    for place in places_of(video, sheet)[1:]:
        check_place(place)


def places_of(output: str | Path, sheet: str | Path | None = None) -> list[Path]:
    """The output paths: the video, its record and, if requested, the contact sheet."""
    video = Path(output)
    return [video, record_path(video), *([] if sheet is None else [Path(sheet)])]


def check_inputs_kept(inputs: Iterable[Path], written: Iterable[Path]) -> None:
    """Refuse to write where an input is, under whatever name."""
    places = list(written)
    for path in inputs:
        for place in places:
            # A folder of frames is replaced as a whole, with all that is in it.
            if any(_is_same(each, place) for each in (path, *Path(os.path.realpath(path)).parents)):
                problem = f"it would overwrite the input {path}"
            elif place.suffix.lower() in STILL_SUFFIXES and _is_same(place.parent, path):
                problem = f"it would become a frame of the input {path}"
            else:
                continue
            raise refusal(place, problem, "Choose another name for the output.")


def check_place(path: str | Path) -> None:
    """Refuse a file that cannot be written."""
    place = Path(path)
    _check_file_name(place)
    if place.is_dir():
        raise refusal(place, "it is a folder, not a file", "Name the file to write in it.")
    _check_parent(place)


def check_folder_place(path: str | Path) -> None:
    """Refuse a folder that cannot be written to or, if it is missing, not be made."""
    place = Path(path)
    _check_file_name(place)
    if not place.exists():
        _check_parent(place)
    elif not place.is_dir():
        raise refusal(place, "it is a file, not a folder", "Choose another name for the folder.")
    else:
        _check_writable(place)


def check_name(path: Path) -> None:
    """Refuse a name that records and prompts, which are UTF-8, cannot hold."""
    for name in (str(path), os.path.realpath(path)):
        if not _is_utf8(name):
            fix = "Rename it or its folder."
            raise refusal(_shown(name), "its name is not UTF-8, which records need", fix)


def _check_file_name(path: Path) -> None:
    check_name(path)
    for part in path.parts:
        extra = len(os.fsencode(part)) - _LONGEST_NAME
        if extra > 0:
            problem = f"{extra + _LONGEST_NAME} bytes are too many for a name"
            fix = f"{_LONGEST_NAME} are the limit: shorten it by {extra} or more."
            raise refusal(part, problem, fix)


def _check_parent(path: Path) -> None:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"The folder {folder} does not exist. Create it, or choose another place."
        )
    _check_writable(folder)


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"The folder {folder} cannot be written to. Choose another place.")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there (yet)
        return os.path.realpath(one) == os.path.realpath(other)


def _is_utf8(text: str) -> bool:
    """Whether a text can be written; what the system could not decode is in it as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


def _check_texts(request: GenerationRequest) -> None:
    """Check that the record can store all texts, before the video is made."""
    texts = (request.prompt, request.negative_prompt or "", *request.reference_prompts)
    for text in texts:
        if not _is_utf8(text):
            raise ValueError(f"The prompt {_shown(text)!r} is not UTF-8. Write it again, in UTF-8.")
    for _, path in request.inputs:
        check_name(path)
    check_name(local_model(request.model) or Path(request.model))


def _check_numbers(request: GenerationRequest) -> None:
    steps = request.num_inference_steps
    if steps is not None and steps < 1:
        raise ValueError(f"num_inference_steps={steps}; at least one denoising step is needed.")
    if steps is not None and steps > _MOST_STEPS:
        raise ValueError(f"num_inference_steps={steps}; use at most {_MOST_STEPS}.")
    for name, usual in (("guidance_scale", 5), ("reference_guidance_scale", 2)):
        scale = getattr(request, name)
        if scale is not None and not math.isfinite(scale):
            raise ValueError(
                f"{name}={scale}; give a number, such as {usual}, or 1 for no guidance."
            )
    if not 0 <= request.seed < _SEEDS:
        raise ValueError(f"seed={request.seed} is out of range. Use 0 … {_SEEDS - 1}.")
    check_strength(request.strength)
    if request.fps is not None:
        exact_rate(request.fps)
    if request.dtype is not None:
        dtype_name(request.dtype)
    if request.memory not in {None, "auto"}:
        memory_bytes(request.memory)
    if request.device is not None:
        check_device(request.device)


def _check_model(request: GenerationRequest) -> None:
    """Refuse a model that there is not, and a size that it was not made for."""
    check_model(request.model)
    folder = local_model(request.model)
    if folder is not None:
        with reading(folder):
            own, compression = native_video(folder, family_of(folder))
            scheduler: Mapping[str, Any] = scheduler_config(folder)
    else:
        from vap.cost.released import RELEASED_MODELS

        released = RELEASED_MODELS.get(full_name(request.model))
        if released is None:
            return
        own, compression = released.shape, released.compression
        scheduler = released.scheduler
    if request.num_inference_steps is not None:
        check_steps(request.num_inference_steps, scheduler)
    shape = PixelShape(
        request.num_frames or own.frames, request.height or own.height, request.width or own.width
    )
    compression.check(shape)
    if folder is not None and "height" not in generation_defaults_of(folder):
        return  # what it was trained at is not known
    share = shape.height * shape.width / (own.height * own.width)
    if max(share, 1 / share) > _FARTHEST:
        larger = "" if share < 1 else ", or a larger model: wan or cogvideox"
        raise ValueError(
            f"height={shape.height}, width={shape.width} is too far from {request.model}'s own "
            f"{own.height}×{own.width}. Use a size near that{larger}."
        )


def _check_counts(request: GenerationRequest) -> None:
    given, captions = len(request.references), len(request.reference_prompts)
    if given > _MOST_REFERENCES:
        raise ValueError(f"References: {given}. Give at most {_MOST_REFERENCES}.")
    if request.video_prompt is not None and (given or captions):
        raise ValueError(
            "Give either reference videos with their prompts, or a video prompt, which contains "
            "both."
        )
    if captions and captions != given:
        raise ValueError(
            f"References: {given}, reference prompts: {captions}. Give one prompt for each "
            "reference, in order, or none."
        )
