"""Options of the commands, each with its one wording; commands share what means the same.

All default to None: what the user leaves open is decided by the request and the model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

_INPUTS, _RESULT, _VIDEO, _MODEL = "Inputs", "Result", "Video", "Model and machine"


def _option(panel: str, text: str, metavar: str | None, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


# Inputs
Image: TypeAlias = Annotated[Path | None, _option(_INPUTS, "First frame of the video.", "FILE")]
References: TypeAlias = Annotated[
    list[Path] | None,
    _option(_INPUTS, "Reference video or folder of frames; may be given again.", "FILE"),
]
Prompt: TypeAlias = Annotated[str | None, _option(_INPUTS, "Caption of the video to make.", "TEXT")]
ReferencePrompts: TypeAlias = Annotated[
    list[str] | None, _option(_INPUTS, "Caption of each reference, in order.", "TEXT")
]
NegativePrompt: TypeAlias = Annotated[
    str | None, _option(_INPUTS, "What to steer away from.", "TEXT")
]
VideoPromptFile: TypeAlias = Annotated[
    Path | None,
    _option(_INPUTS, "References encoded by `vap prompt encode`, in place of --reference.", "FILE"),
]
LastImage: TypeAlias = Annotated[Path | None, _option(_INPUTS, "Last frame (Wan only).", "FILE")]
Selection: TypeAlias = Annotated[
    Literal["evenly", "first", "random"] | None,
    _option(_INPUTS, "Frames of a reference to take: evenly (default), first or random.", "HOW"),
]
Fit: TypeAlias = Annotated[
    Literal["cover", "stretch"] | None,
    _option(_INPUTS, "Bring inputs to size: cover crops (default), stretch distorts.", "HOW"),
]
Demo: TypeAlias = Annotated[
    bool, _option(_INPUTS, "Use the bundled example as input.", None, "--demo")
]
Repeat: TypeAlias = Annotated[
    Path | None, _option(_INPUTS, "Make this video (or that of this .json) again.", "FILE")
]

# Result
Output: TypeAlias = Annotated[
    Path | None,
    _option(
        _RESULT,
        "Ending in .mp4, .webm or .gif; or a folder for PNG frames.",
        "FILE",
        "-o",
        "--output",
    ),
]
Sheet: TypeAlias = Annotated[
    Path | None, _option(_RESULT, "PNG that shows reference, image and result together.", "FILE")
]
AsJson: TypeAlias = Annotated[bool, _option(_RESULT, "Print the result as JSON.", None, "--json")]

# Video
Height: TypeAlias = Annotated[int | None, _option(_VIDEO, "Default: the model's.", "PIXELS")]
Width: TypeAlias = Annotated[int | None, _option(_VIDEO, "Default: the model's.", "PIXELS")]
Frames: TypeAlias = Annotated[int | None, _option(_VIDEO, "1 + 4k. Default: the model's.", "N")]
Rate: TypeAlias = Annotated[
    float | None, _option(_VIDEO, "Frames a second. Default: the model's.", "RATE")
]
Steps: TypeAlias = Annotated[
    int | None, _option(_VIDEO, "Denoising steps. Default: the model's.", "N")
]
GuidanceScale: TypeAlias = Annotated[
    float | None, _option(_VIDEO, "How closely to follow the text; 1: off.", "SCALE")
]
ReferenceGuidance: TypeAlias = Annotated[
    float | None,
    _option(_VIDEO, "How far past its reference's lead to go; 1: off.", "SCALE"),
]
DynamicGuidance: TypeAlias = Annotated[
    bool | None,
    _option(
        _VIDEO,
        "Let it rise over the steps (CogVideoX only).",
        None,
        "--dynamic-guidance/--fixed-guidance",
    ),
]
Strength: TypeAlias = Annotated[
    float | None,
    _option(_VIDEO, "How much to follow the reference. Default: 1, as trained.", "0…1"),
]
Seed: TypeAlias = Annotated[int | None, _option(_VIDEO, "Same seed, same video. Default: 0.", "N")]

# Model and machine
Model: TypeAlias = Annotated[
    str | None, _option(_MODEL, "Name, pipeline folder or Hub id. Default: vap-mini.", "NAME")
]
ExpertFile: TypeAlias = Annotated[
    Path | None, _option(_MODEL, "Expert in place of the model's.", "FILE")
]
StudentFile: TypeAlias = Annotated[
    Path | None, _option(_MODEL, "Few-step LoRA to merge into the backbone.", "FILE")
]
Dtype: TypeAlias = Annotated[
    str | None,
    _option(
        _MODEL,
        "float32, bfloat16 or float16. Default: float32 on a CPU, else bfloat16.",
        "TYPE",
    ),
]
Device: TypeAlias = Annotated[
    str | None,
    _option(_MODEL, "cpu, cuda, cuda:1, mps … Default: an accelerator if there is one.", "NAME"),
]
Offload: TypeAlias = Annotated[
    Literal["model", "group", "sequential"] | None,
    _option(_MODEL, "Save GPU memory: model, group (more) or sequential (most, slow).", "HOW"),
]
Parallel: TypeAlias = Annotated[
    str | None,
    _option(
        _MODEL,
        "How processes started by torchrun share a video: degrees of guidance, ulysses and ring, "
        "as in guidance=2,ulysses=4. Default: chosen.",
        "DEGREES",
    ),
]
Memory: TypeAlias = Annotated[
    str | None,
    _option(_MODEL, "Hold the model within so much memory, for example 10GB.", "AMOUNT"),
]
Profile: TypeAlias = Annotated[
    Literal["exact", "fast", "turbo"] | None,
    _option(_MODEL, "Speed: exact, or fast and turbo, which give up some fidelity.", "NAME"),
]
Quantize: TypeAlias = Annotated[
    Literal["int8", "fp8"] | None,
    _option(_MODEL, "Hold the backbone's weights in eight bits; slightly inexact.", "TYPE"),
]
