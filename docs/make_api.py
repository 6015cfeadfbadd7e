"""Write docs/api.md from signatures and docstrings: ``python docs/make_api.py``."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("api.md")
HEAD = """# API reference

`python docs/make_api.py` writes this page from signatures and docstrings: edit those.
[CONTRIBUTING.md](../CONTRIBUTING.md) explains axis letters such as `[B, R, C, F, H, W]`.
"""
LINE = 88
EXPERT = ("from_backbone", "load_expert", "save_expert", "remove_expert", "freeze_backbone")
PIPELINE = (
    "__call__",
    "encode_video_prompt",
    "reference_report",
    "load_lora_weights",
    "from_pretrained",
)

# Module, name, and those of its methods that a user calls.
SECTIONS: dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    "Pipelines": (
        ("vap", "load_pipeline", ()),
        ("vap", "WanVideoAsPromptPipeline", PIPELINE),
        ("vap", "CogVideoXVideoAsPromptPipeline", ("__call__",)),
        ("vap", "VideoPrompt", ("save", "load", "joined")),
        ("vap.pipelines.reference_report", "ReferenceReport", ("lines",)),
    ),
    "Transformers and experts": (
        ("vap", "WanVideoAsPromptTransformer3DModel", ("forward", *EXPERT)),
        ("vap", "CogVideoXVideoAsPromptTransformer3DModel", ("forward",)),
    ),
    "Video and images": (
        ("vap", "write_video", ()),
        ("vap.media", "read_clip", ()),
        ("vap.media", "read_image", ()),
        ("vap.media", "read_run", ()),
        ("vap.media", "write_sheet", ()),
    ),
    "Captions": (
        ("vap", "write_prompts", ()),
        ("vap.captioning", "with_prompts", ()),
        ("vap.captioning", "Prompts", ("save", "request")),
        ("vap.captioning.writer", "find_writer", ()),
    ),
    "Requests and records": (
        ("vap.generation.request", "GenerationRequest", ()),
        ("vap.generation.run", "generate", ()),
        ("vap.generation.run", "save", ()),
    ),
    "Metrics": (
        ("vap.evaluation.metrics.base", "Metric", ("check", "identity", "applies", "score")),
        ("vap.evaluation.metrics.base", "Sample", ()),
        ("vap.evaluation.metrics.base", "Value", ()),
        ("vap.evaluation.metrics.motion_smoothness", "smoothness", ()),
        ("vap.media.change", "reference_use", ()),
    ),
    "Several processes": (
        ("vap.parallel", "Mesh", ()),
        ("vap.parallel", "parallelize", ()),
        ("vap.parallel", "processes", ()),
    ),
}


def parameters_of(signature: inspect.Signature) -> Iterator[str]:
    """Parameters as they are written in code, without self."""
    star = False
    for parameter in signature.parameters.values():
        if parameter.name in {"self", "cls"}:
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            yield "*"
        star |= parameter.kind in {parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL}
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
        value = getattr(parameter.default, "__name__", repr(parameter.default))
        default = "" if parameter.default is parameter.empty else f" = {value}"
        prefix = stars.get(parameter.kind, "")
        yield f"{prefix}{parameter.name}: {parameter.annotation}{default}"


def signature_of(function: Callable[..., Any], name: str) -> str:
    """The signature as a code block, one parameter a line where it is long."""
    signature = inspect.signature(function)
    parts = [*parameters_of(signature)]
    line = f"{name}({', '.join(parts)}) -> {signature.return_annotation}"
    if len(line) > LINE:
        lines = "".join(f"    {part},\n" for part in parts)
        line = f"{name}(\n{lines}) -> {signature.return_annotation}"
    return f"```py\n{line}\n```\n"


def markdown_of(docstring: str) -> Iterator[str]:
    """A Google docstring as Markdown: sections as lists."""
    text = re.sub(r":(?:class|func|meth|mod|attr):`~?([^`]+)`", r"`\1`", docstring)
    text = text.replace("``", "`")
    head, *sections = re.split(r"(?m)^(Args|Attributes|Returns|Raises|Yields):\n", text)
    yield head.strip() + "\n"
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        rest = inspect.cleandoc("\n" + body)
        yield f"**{title}**\n"
        if title in {"Returns", "Yields"}:
            yield " ".join(rest.split()) + "\n"
            continue
        items = re.split(r"\n(?=\S)", rest)
        named = (re.sub(r"^(\*{0,2}\w+)", r"`\1`", " ".join(item.split())) for item in items)
        yield "\n".join(f"- {item}" for item in named) + "\n"


def entry(module: str, name: str, methods: tuple[str, ...]) -> Iterator[str]:
    """A public name with its methods."""
    thing = getattr(importlib.import_module(module), name)
    yield f"### `{module}.{name}`\n"
    if not inspect.isclass(thing):
        yield signature_of(thing, name)
    yield from markdown_of(inspect.getdoc(thing) or "")
    for method in methods:
        function = getattr(thing, method)
        yield f"#### `{name}.{method}`\n"
        yield signature_of(function, method)
        yield from markdown_of(inspect.getdoc(function) or "")


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, entries in SECTIONS.items():
        lines.append(f"## {title}\n")
        for each in entries:
            lines += entry(*each)
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
