"""What to generate, and whether that can be done, found out before anything slow happens."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

from vap.acceleration.plan import Quantisation
from vap.acceleration.profiles import Profile
from vap.acceleration.student import taught_steps
from vap.devices import check_device
from vap.hub import BUNDLED_FOLDER, DEFAULT_MODEL, Offload
from vap.media import FrameSelection, MediaError, probe_clip, read_image
from vap.media.encoders import FORMATS
from vap.media.pixels import Fit
from vap.media.timing import exact_rate
from vap.models.attention import check_strength
from vap.models.expert_file import read_expert_info
from vap.prompts import VideoPrompt

_VIDEO_SUFFIXES = (*FORMATS, ".gif")
_SEEDS = 1 << 63


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
        student: Few-step LoRA to merge into the backbone.
        height: Pixels.
        width: Pixels.
        num_frames: Pixel frames.
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        reference_guidance_scale: Guidance by the references, which costs a pass of the backbone.
        use_dynamic_cfg: Whether the scale rises over the steps (CogVideoX).
        strength: How much the target reads the reference, 0 … 1.
        seed: Of the noise, 0 … 2⁶³ − 1; drawn on the CPU, so that it means the same on every
            device.
        fps: Frames a second of the result.
        frame_selection: How frames of a reference are taken.
        fit: ``cover`` crops images and references to the size, ``stretch`` distorts them.
        dtype: Precision.
        device: Where to run.
        offload: Memory saving, see :func:`vap.load_pipeline`.
        memory: Amount to hold the model within, likewise.
        quantise: Precision to hold the backbone's weights in, likewise.
        profile: Speed against fidelity, likewise.
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
    quantise: Quantisation | None = None
    profile: Profile | None = None


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


def check_request(request: GenerationRequest) -> None:
    """Refuse what no model can do, and files that cannot be used, before a model is loaded.

    Raises:
        ValueError: If settings contradict each other or are out of their range.
        FileNotFoundError: If a file is missing.
        MediaError: If an image or video cannot be read.
    """
    _check_settings(request)
    _check_references(request)
    read_image(request.image)
    if request.last_image is not None:
        read_image(request.last_image)
    if request.expert is not None:
        read_expert_info(request.expert)
    if request.student is not None:
        taught_steps(request.student)


def check_output(output: str | Path, sheet: str | Path | None = None) -> None:
    """Refuse places that cannot be written to.

    Args:
        output: Of the video, as for :func:`vap.media.write_video`.
        sheet: Of the contact sheet.

    Raises:
        FileNotFoundError: If a folder does not exist.
        MediaError: If a name does not say a format that is written, or the place is taken.
        PermissionError: If a folder cannot be written to.
    """
    video = Path(output)
    if video.is_dir():
        _check_frames_only(video)
    elif video.suffix and video.suffix.lower() not in _VIDEO_SUFFIXES:
        message = (
            f"{video}: videos are not written as {video.suffix!r}. Use one of "
            f"{', '.join(_VIDEO_SUFFIXES)}, or a name without suffix for a folder of PNG."
        )
        raise MediaError(message)
    if sheet is not None and Path(sheet).suffix.lower() != ".png":
        message = f"{sheet}: contact sheets are PNG. Use a name that ends with .png."
        raise MediaError(message)
    check_place(video)
    if sheet is not None:
        check_place(sheet)


def check_place(path: str | Path) -> None:
    """Refuse a file whose folder is missing or cannot be written to.

    Raises:
        FileNotFoundError: If the folder does not exist.
        PermissionError: If it cannot be written to.
    """
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        message = f"The folder {folder} does not exist. Create it, or choose another place."
        raise FileNotFoundError(message)
    if not os.access(folder, os.W_OK):
        message = f"The folder {folder} cannot be written to. Choose another place."
        raise PermissionError(message)


def _check_settings(request: GenerationRequest) -> None:
    steps = request.num_inference_steps
    if steps is not None and steps < 1:
        message = f"num_inference_steps={steps}; at least one denoising step is needed."
        raise ValueError(message)
    for name, usual in (("guidance_scale", 5), ("reference_guidance_scale", 2)):
        scale = getattr(request, name)
        if scale is not None and not math.isfinite(scale):
            message = f"{name}={scale}; give a number, such as {usual}, or 1 for no guidance."
            raise ValueError(message)
    if not 0 <= request.seed < _SEEDS:
        message = f"seed={request.seed} is out of range. Use 0 … {_SEEDS - 1}."
        raise ValueError(message)
    check_strength(request.strength)
    if request.fps is not None:
        exact_rate(request.fps)
    if request.device is not None:
        check_device(request.device)


def _check_references(request: GenerationRequest) -> None:
    given, captions = len(request.references), len(request.reference_prompts)
    if request.video_prompt is not None and (given or captions):
        message = (
            "Give either reference videos with their prompts or a video prompt, which holds both."
        )
        raise ValueError(message)
    if captions and captions != given:
        message = (
            f"There are {given} references and {captions} reference prompts. Give one prompt for "
            "each reference, in order, or none."
        )
        raise ValueError(message)
    for reference in request.references:
        probe_clip(reference)
    if request.video_prompt is not None:
        VideoPrompt.load(request.video_prompt)


def _check_frames_only(folder: Path) -> None:
    """A folder of frames is replaced as a whole, so it may hold nothing else."""
    frames = set(folder.glob("frame_*.png"))
    foreign = next((item for item in folder.iterdir() if item not in frames), None)
    if foreign is not None:
        message = (
            f"{folder}: this folder holds something else than frames ({foreign.name}). Choose a "
            "new or empty folder, or a file name such as out.mp4."
        )
        raise MediaError(message)
