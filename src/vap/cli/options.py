"""Options that several commands share, and how help shows them.

All options default to None. The request and the model then choose the value.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer
from typer.core import TyperCommand, TyperGroup

ADVANCED = "Advanced"
_VALUES = {
    "<bool>": "",  # a flag
    "<path>": "PATH",
    "<list[Path]>": "PATH",
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<int>": "N",
    "<int range>": "N",
    "<float>": "NUMBER",
    "<float range>": "NUMBER",
}
_INPUTS, _RESULT, _VIDEO, _MODEL = "Inputs", "Result", "Video", "Model and machine"


class Command(TyperCommand):
    """A command whose help shows ``PATH`` and ``N``, and nothing after a flag."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the one set of metavars; advanced options only where they are asked for."""
        _name_values(self, ctx)
        super().format_help(ctx, formatter)


class WithAdvanced(Command):
    """A command whose advanced options show in ``--help-all`` alone."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Without the advanced options, unless they are asked for."""
        for param in self.params:
            if getattr(param, "rich_help_panel", None) == ADVANCED:
                vars(param)["hidden"] = not ctx.meta.get(ADVANCED, False)
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """The same for a group of commands."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """With the one set of metavars."""
        _name_values(self, ctx)
        super().format_help(ctx, formatter)


class App(typer.Typer):
    """A group of commands that show their options so."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, cls=Group, **kwargs)

    def command(self, name: str | None = None, *, cls: Any = Command, **kwargs: Any) -> Any:
        """As typer's."""
        return super().command(name, cls=cls, **kwargs)


def show_all(context: typer.Context, asked: bool) -> None:
    """Print the help of a command with its advanced options, and end."""
    if asked:
        context.meta[ADVANCED] = True
        typer.echo(context.get_help())
        raise typer.Exit


def _name_values(command: Any, context: Any) -> None:
    for param in command.get_params(context):
        if param.metavar is None and param.param_type_name == "option":
            param.metavar = _VALUES.get(param.display_type(context))


def _option(panel: str, text: str, metavar: str | None, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, rich_help_panel=panel)


# Inputs
Image: TypeAlias = Annotated[Path | None, _option(_INPUTS, "First frame of the video.", "FILE")]
References: TypeAlias = Annotated[
    list[Path] | None,
    _option(_INPUTS, "Reference video or folder of frames. Repeatable.", "FILE", "--reference"),
]
Prompt: TypeAlias = Annotated[str | None, _option(_INPUTS, "Caption of the video to make.", "TEXT")]
ReferencePrompts: TypeAlias = Annotated[
    list[str] | None,
    _option(_INPUTS, "Caption of each reference, in order.", "TEXT", "--reference-prompt"),
]
PromptsFile: TypeAlias = Annotated[
    Path | None, _option(ADVANCED, "Captions written by `vap caption -o`.", "FILE", "--prompts")
]
Captioner: TypeAlias = Annotated[
    str | None,
    _option(
        ADVANCED,
        "Writes missing captions: gemini, openai:URL#MODEL, local:MODEL or none. Default: "
        "VAP_CAPTIONER of the environment.",
        "NAME",
    ),
]
NegativePrompt: TypeAlias = Annotated[
    str | None, _option(ADVANCED, "Text describing what to avoid.", "TEXT")
]
VideoPromptFile: TypeAlias = Annotated[
    Path | None,
    _option(_INPUTS, "References encoded by `vap prompt encode`, in place of --reference.", "FILE"),
]
LastImage: TypeAlias = Annotated[Path | None, _option(ADVANCED, "Last frame (Wan only).", "FILE")]
Selection: TypeAlias = Annotated[
    Literal["evenly", "first", "random"] | None,
    _option(
        ADVANCED,
        "Frames of a reference to take: evenly (default), first or random.",
        "HOW",
        "--selection",
    ),
]
Fit: TypeAlias = Annotated[
    Literal["cover", "stretch"] | None,
    _option(ADVANCED, "How to fit inputs: cover crops (default), stretch distorts.", "HOW"),
]
Effect: TypeAlias = Annotated[
    str | None,
    _option(_INPUTS, "From `vap effect list`, or its folder, in place of --reference.", "NAME"),
]
Demo: TypeAlias = Annotated[
    bool, _option(_INPUTS, "Use the bundled example as input.", None, "--demo")
]
Repeat: TypeAlias = Annotated[
    Path | None,
    _option(_INPUTS, "Make this video again; takes the video or its .json record.", "FILE"),
]

# Result
Output: TypeAlias = Annotated[
    Path | None,
    _option(
        _RESULT,
        "A .mp4, .webm or .gif file, or a folder for PNG frames.",
        "FILE",
        "-o",
        "--output",
    ),
]
Sheet: TypeAlias = Annotated[
    Path | None, _option(_RESULT, "Contact sheet (PNG) of reference, image and result.", "FILE")
]
CheckReference: TypeAlias = Annotated[
    bool,
    _option(
        _RESULT,
        "Also make it without the reference, and say what the reference does.",
        None,
        "--check-reference",
    ),
]
OtherReference: TypeAlias = Annotated[
    Path | None,
    _option(ADVANCED, "Reference of another effect, for --check-reference.", "FILE"),
]
OtherPrompt: TypeAlias = Annotated[
    str | None, _option(ADVANCED, "Caption of --other-reference.", "TEXT")
]
HelpAll: TypeAlias = Annotated[
    bool,
    typer.Option("--help-all", callback=show_all, is_eager=True, help="Show all options."),
]
AsJson: TypeAlias = Annotated[bool, _option(_RESULT, "Print the result as JSON.", None, "--json")]

# Video
Height: TypeAlias = Annotated[
    int | None, _option(_VIDEO, "Height. Default: the model's.", "PIXELS")
]
Width: TypeAlias = Annotated[int | None, _option(_VIDEO, "Width. Default: the model's.", "PIXELS")]
Frames: TypeAlias = Annotated[
    int | None, _option(_VIDEO, "Number of frames, 1 + 4k. Default: the model's.", "N", "--frames")
]
Rate: TypeAlias = Annotated[
    float | None, _option(ADVANCED, "Frames per second. Default: the model's.", "RATE")
]
Steps: TypeAlias = Annotated[
    int | None, _option(_VIDEO, "Denoising steps. Default: the model's.", "N", "--steps")
]
GuidanceScale: TypeAlias = Annotated[
    float | None,
    _option(ADVANCED, "How closely to follow the text; 1: off.", "SCALE", "--guidance"),
]
ReferenceGuidance: TypeAlias = Annotated[
    float | None,
    _option(
        ADVANCED,
        "How strongly to follow the reference; above 1 takes more time.",
        "SCALE",
        "--reference-guidance",
    ),
]
DynamicGuidance: TypeAlias = Annotated[
    bool | None,
    _option(
        ADVANCED,
        "Let the text guidance rise over the steps (CogVideoX only).",
        None,
        "--dynamic-guidance/--fixed-guidance",
    ),
]
Strength: TypeAlias = Annotated[
    float | None,
    _option(_VIDEO, "How closely to follow the reference. Default: 1 (the trained model).", "0…1"),
]
Seed: TypeAlias = Annotated[int | None, _option(_VIDEO, "Seed of the noise. Default: 0.", "N")]

# Model and machine
Model: TypeAlias = Annotated[
    str | None,
    _option(_MODEL, "wan, cogvideox, vap-mini (default), a folder or Hub id.", "NAME"),
]
ExpertFile: TypeAlias = Annotated[
    Path | None,
    _option(ADVANCED, "Expert to load instead of the model's: a file, or owner/name.", "FILE"),
]
BackboneFile: TypeAlias = Annotated[
    Path | None, _option(ADVANCED, "Backbone file, .safetensors or .gguf (Wan only).", "FILE")
]
Loras: TypeAlias = Annotated[
    list[str] | None,
    _option(_MODEL, "LoRA to merge, with its scale (default 1). Repeatable.", "FILE[:SCALE]"),
]
Distilled: TypeAlias = Annotated[
    str | None,
    _option(
        ADVANCED, "Published distilled LoRA: lightx2v-4step; --student may give its file.", "NAME"
    ),
]
StudentFile: TypeAlias = Annotated[
    Path | None, _option(ADVANCED, "Step-distilled LoRA to merge into the backbone.", "FILE")
]
Dtype: TypeAlias = Annotated[
    str | None,
    _option(
        ADVANCED,
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
    _option(
        ADVANCED,
        "Offload weights: model, group (saves more) or sequential (saves most, slow).",
        "HOW",
    ),
]
Parallel: TypeAlias = Annotated[
    str | None,
    _option(
        ADVANCED,
        "How the processes of torchrun share a video: degrees of guidance, ulysses and ring, such "
        "as guidance=2,ulysses=4. Default: automatic.",
        "DEGREES",
    ),
]
Memory: TypeAlias = Annotated[
    str | None,
    _option(
        _MODEL,
        "Memory limit, such as 10GB, or auto (free memory; default on a GPU).",
        "AMOUNT",
    ),
]
Profile: TypeAlias = Annotated[
    Literal["exact", "fast", "turbo"] | None,
    _option(_MODEL, "Speed profile: exact, or fast and turbo, which are less exact.", "NAME"),
]
Quantize: TypeAlias = Annotated[
    Literal["int8", "fp8"] | None,
    _option(ADVANCED, "Quantize the backbone's weights to 8 bits; slightly less exact.", "TYPE"),
]


def scaled(text: str) -> tuple[Path, float]:
    """The file and scale of ``FILE[:SCALE]``; a file may have a colon in its name."""
    file, _, scale = text.rpartition(":")
    try:
        number = float(scale)
    except ValueError:
        return Path(text), 1.0
    if not file:
        return Path(text), 1.0
    if not math.isfinite(number):
        raise ValueError(f"--lora {text}: the scale must be a finite number, such as 0.8.")
    return Path(file), number
