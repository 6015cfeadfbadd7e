"""Draw the figures of the documentation: ``python docs/make_figures.py``; a minute on a CPU.

Models, positions, attention and videos are those of the package; nothing is drawn by hand.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

import vap
from vap.media import read_clip, read_image
from vap.media.pixels import to_uint8
from vap.mini.story.drawing import draw_panel
from vap.mini.story.panels import Cell, Kind, Panel, Row
from vap.models.attention import attention_kernel
from vap.models.rope import Grid, ReferencePositions, reference_grid
from vap.shapes import PixelShape

Frames = NDArray[np.uint8]

IMAGES = Path(__file__).parent / "images"
EFFECTS = Path(vap.__file__).parent / "bundled" / "effects"
SHAPE = PixelShape(17, 64, 96)
CAPTION = "a green star on a beach under a white sky"
SHOWN = 6  # frames of a strip
TARGET, REFERENCE, INK, PALE = "#3b6fb5", "#d6762a", "#333333", "#e4e4e0"


# --- drawings ---------------------------------------------------------------------------------


def svg(width: int, height: int, parts: Sequence[str]) -> str:
    """A drawing on white, readable in light and dark pages."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" style="font-family:sans-serif;font-size:13px">\n'
        f'<rect width="{width}" height="{height}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def box(x: float, y: float, width: float, height: float, color: str, opacity: float = 1) -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="2" '
        f'fill="{color}" fill-opacity="{opacity:.3f}"/>'
    )


def text(x: float, y: float, words: str, anchor: str = "start", color: str = INK) -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}">{words}</text>'


def streams() -> str:
    """Which blocks of the released models have an expert."""
    models = (
        ("Wan2.1-14B: 40 blocks", vap.WanVideoAsPromptTransformer3DModel, 40),
        ("CogVideoX-5B: 42 blocks", vap.CogVideoXVideoAsPromptTransformer3DModel, 42),
    )
    parts = []
    for row, (title, kind, count) in enumerate(models):
        top = 10 + row * 120
        coupled = kind.default_expert_depths(kind, count)  # type: ignore[arg-type]
        parts.append(text(20, top + 14, f"{title}, {len(coupled)} of them coupled"))
        for depth in range(count):
            x = 130 + depth * 14
            parts.append(box(x, top + 26, 11, 26, TARGET, 1 if depth in coupled else 0.35))
            if depth in coupled:
                parts.append(box(x + 4, top + 52, 3, 16, INK))
                parts.append(box(x, top + 68, 11, 26, REFERENCE))
        parts.append(text(120, top + 44, "target", "end", TARGET))
        parts.append(text(120, top + 64, "joint attention", "end"))
        parts.append(text(120, top + 86, "expert", "end", REFERENCE))
    return svg(740, 240, parts)


def positions() -> str:
    """Temporal positions of a target and two references, by the code that gives them."""
    frames, cell = 5, 34
    grid = Grid(torch.arange(frames), torch.arange(1), torch.arange(1))
    modes: tuple[tuple[ReferencePositions, str], ...] = (
        ("before", "as released: each video has its own time"),
        ("shared", "for comparison: all videos share one time"),
    )
    parts = []
    for column, (mode, title) in enumerate(modes):
        left = 20 + column * 600
        parts.append(text(left, 22, title))
        rows = [("target", grid.time, TARGET)]
        rows += [
            (f"reference {n + 1}", reference_grid(grid, n, 2, mode).time, REFERENCE)
            for n in range(2)
        ]
        first = int(min(times.min() for _, times, _ in rows))
        for row, (name, times, color) in enumerate(rows):
            top = 36 + row * 40
            parts.append(text(left, top + 21, name, color=color))
            for time in times.tolist():
                x = left + 90 + (time - first) * (cell - 2)
                parts.append(box(x, top, cell - 5, 30, color))
                parts.append(text(x + (cell - 5) / 2, top + 20, f"{time:.0f}", "middle", "white"))
        parts.append(text(left + 90, 172, "position in time"))
    return svg(920, 182, parts)


def attention(pipeline: Any) -> str:
    """How much each latent frame attends to each, in the coupled blocks of vap-mini."""
    seen: list[torch.Tensor] = []

    def recorded(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        if query.shape[1] == key.shape[1]:  # both streams ask
            scores = torch.einsum("bnhd,bmhd->bhnm", query, key) * query.shape[-1] ** -0.5
            shares = scores.softmax(-1).mean((0, 1))  # [N, N]
            size = 2 * (1 + (SHAPE.frames - 1) // 4)
            by_frame = shares.unflatten(1, (size, -1)).sum(2).unflatten(0, (size, -1)).mean(1)
            seen.append(by_frame)
        return attention_kernel(None)(query, key, value)

    with in_place_of_attention(pipeline, recorded):
        underwater(pipeline, reference_guidance_scale=1.0)
    shares = torch.stack(seen).mean(0)
    count, cell, left, top = len(shares), 34, 130, 66
    frames = count // 2
    parts = [
        text(left + frames * cell / 2, 26, "to the target", "middle", TARGET),
        text(left + frames * cell * 1.5 + 8, 26, "to the reference", "middle", REFERENCE),
    ]
    for row in range(count):
        y = top + row * cell + 8 * (row >= frames)
        for column in range(count):
            x = left + column * cell + 8 * (column >= frames)
            share = float(shares[row, column])
            color = TARGET if column < frames else REFERENCE
            parts.append(box(x, y, cell - 2, cell - 2, PALE))
            parts.append(box(x, y, cell - 2, cell - 2, color, min(1.0, share / 0.35)))
            ink = "white" if share > 0.2 else INK  # noqa: PLR2004 - dark cells
            parts.append(text(x + cell / 2 - 1, y + 21, f"{share:.2f}"[1:], "middle", ink))
        parts.append(text(left - 8, y + 21, f"frame {row % frames + 1}", "end"))
    parts += [
        text(left + c * cell + 8 * (c >= frames) + cell / 2, top - 8, f"{c % frames + 1}", "middle")
        for c in range(count)
    ]
    parts.append(text(16, top + frames * cell / 2, "target", color=TARGET))
    parts.append(text(16, top + frames * cell * 1.5 + 8, "reference", color=REFERENCE))
    return svg(left + count * cell + 30, top + count * cell + 30, parts)


class in_place_of_attention:  # noqa: N801 - used as a function
    """Run the joint attention of a pipeline by another function for a while."""

    def __init__(self, pipeline: Any, function: Callable[..., torch.Tensor]) -> None:
        blocks = pipeline.transformer.blocks
        self._processors = [block.attn1.processor for block in blocks if block.has_expert]
        self._before = [processor._attention_backend for processor in self._processors]
        self._function = function

    def __enter__(self) -> None:
        for processor in self._processors:
            processor._attention_backend = self._function

    def __exit__(self, *error: object) -> None:
        for processor, before in zip(self._processors, self._before, strict=True):
            processor._attention_backend = before


# --- videos -----------------------------------------------------------------------------------


def animate(pipeline: Any, clip: Frames, **options: Any) -> Frames:
    """The image of an effect that ships, animated by a clip: ``uint8`` ``[T, H, W, 3]``."""
    image = read_image(EFFECTS / "burn" / "image.png")
    generator = torch.Generator().manual_seed(0)
    done = pipeline(image, CAPTION, reference_videos=[clip], generator=generator, **options)
    return to_uint8("result", np.asarray(done.frames[0]))


def underwater(pipeline: Any, **options: Any) -> tuple[Frames, Frames]:
    """The reference of an effect that ships, and the result."""
    clip = read_clip(EFFECTS / "underwater" / "reference.mp4").frames
    return clip, animate(pipeline, clip, **options)


def strip(kind: Kind, frames: Frames, label: str) -> Row:
    """Some frames of a video beside each other, with a label below the first."""
    chosen = np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)
    return [
        Cell(kind, frames[place : place + 1], label if place == chosen[0] else "")
        for place in chosen
    ]


def save(name: str, rows: Sequence[Row]) -> None:
    """Write rows as a JPEG."""
    draw_panel(Panel(name, "", "", rows), 0).save(IMAGES / f"{name}.jpg", quality=80, optimize=True)


def frames_of_the_model(pipeline: Any) -> None:
    """A reference, and an image with and without it."""
    clip, result = underwater(pipeline)
    _, alone = underwater(pipeline, strength=0.0)
    save(
        "how-frames",
        [
            strip("reference", clip, "reference"),
            strip("result", alone, "strength 0"),
            strip("result", result, "strength 1"),
        ],
    )


def recipes(pipeline: Any) -> None:
    """References that the recipes make, and what they do to an image."""
    still = read_image(EFFECTS / "sepia" / "image.png").resize((96, 64))

    clip = style_reference(still, ImageOps.colorize(still.convert("L"), "#2b1d0e", "#f1dfb0"))
    done = animate(pipeline, clip)
    save("recipe-style", [strip("reference", clip, "reference"), strip("result", done, "result")])

    clip = camera_reference(still)
    done = animate(pipeline, clip)
    save("recipe-camera", [strip("reference", clip, "reference"), strip("result", done, "result")])


def style_reference(before: Image.Image, after: Image.Image) -> Frames:
    """A cross-fade of two pictures."""
    shares = [min(1, step / 10) for step in range(17)]
    return np.stack([np.asarray(Image.blend(before, after, share)) for share in shares])


def camera_reference(picture: Image.Image) -> Frames:
    """A zoom into a picture."""
    width, height = picture.size

    def frame(margin: float) -> Frames:
        crop = (width * margin, height * margin, width * (1 - margin), height * (1 - margin))
        return np.asarray(picture.resize((width, height), box=crop))

    return np.stack([frame(0.2 * step / 16) for step in range(17)])


def main() -> None:
    """Draw all figures."""
    logging.basicConfig(level=logging.WARNING)
    (IMAGES / "how-streams.svg").write_text(streams(), encoding="utf-8")
    (IMAGES / "how-positions.svg").write_text(positions(), encoding="utf-8")
    pipeline = vap.load_pipeline("vap-mini", device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    (IMAGES / "how-attention.svg").write_text(attention(pipeline), encoding="utf-8")
    frames_of_the_model(pipeline)
    recipes(pipeline)


if __name__ == "__main__":
    main()
