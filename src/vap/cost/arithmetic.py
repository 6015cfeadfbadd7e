"""What a generation costs: arithmetic and memory, predicted from the model's sizes.

The counts follow the released models' structure (linear layers and attention of both streams);
they leave out normalization and embeddings, which are under one percent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vap.files.folders import weight_files
from vap.files.weights import read_headers
from vap.shapes import TEXT_TOKENS, Compression, PixelShape

if TYPE_CHECKING:  # requests are checked before torch is imported
    from vap.shapes import Family

_FLOP_PER_MULTIPLY = 2


@dataclass(frozen=True, slots=True)
class TransformerSize:
    """What of a transformer decides its cost."""

    family: Family
    blocks: int
    coupled: int
    width: int
    feed_forward: int
    image_tokens: int = 0

    @classmethod
    def of(cls, config: Any, family: Family) -> TransformerSize:
        """Read the size off a transformer's configuration (a mapping)."""
        width = config["num_attention_heads"] * config["attention_head_dim"]
        depths = config.get("block_idx_with_mot_ref") or ()
        if family == "wan":
            image_tokens = 257 if config.get("image_dim") else 0
            return cls(
                family, config["num_layers"], len(depths), width, config["ffn_dim"], image_tokens
            )
        return cls(family, config["num_layers"], len(depths), width, 4 * width)


@dataclass(frozen=True, slots=True)
class GenerationCost:
    """Predicted arithmetic of one generation."""

    tokens: int
    flop_per_forward: float
    flop: float


def generation_cost(
    size: TransformerSize,
    shape: PixelShape,
    compression: Compression,
    *,
    steps: int,
    guidance: bool = True,
    references: int = 1,
    reference_guidance: bool = False,
) -> GenerationCost:
    """Count the arithmetic of one generation."""
    tokens = compression.tokens(shape)
    forward = _forward_flop(size, tokens, references)
    step = forward * (2 if guidance else 1)
    if reference_guidance:
        step += _forward_flop(size, tokens, references=0)
    return GenerationCost(tokens, forward, step * steps)


def _forward_flop(size: TransformerSize, tokens: int, references: int) -> float:
    """One pass of the transformer."""
    text = TEXT_TOKENS["cogvideox"] if size.family == "cogvideox" else 0
    stream = tokens + text
    linear = stream * _linear_flop_per_token(size)
    linear_all = linear * (size.blocks + references * size.coupled)
    alone = _attention_flop(stream, size.width) * (size.blocks - size.coupled)
    joint = _attention_flop(stream * (1 + references), size.width) * size.coupled
    context = _context_flop(size, tokens) * (size.blocks + references * size.coupled)
    return linear_all + alone + joint + context


def parameter_count(parameters: int) -> str:
    """``20.7B``, ``3.4M`` or ``512``."""
    for unit, scale in (("B", 1e9), ("M", 1e6)):
        if parameters >= scale:
            return f"{parameters / scale:.1f}{unit}"
    return f"{parameters:,}"


def stored_parameters(folder: Path) -> dict[str, int]:
    """Parameters of each component of a pipeline folder, read from the files' headers."""
    counts: dict[str, int] = {}
    for component in sorted(path for path in folder.iterdir() if path.is_dir()):
        total = sum(stored_shapes(component))
        if total:
            counts[component.name] = total
    return counts


def stored_shapes(folder: Path) -> Iterator[int]:
    """Elements of every tensor that is loaded from a component's folder, read from the headers."""
    files = [file for file in weight_files(folder) if file.is_file()]
    yield from (math.prod(tensor.shape) for tensor in read_headers(files).values())


def _linear_flop_per_token(size: TransformerSize) -> float:
    """Linear layers of one block that see every video token."""
    square = size.width**2
    # Wan: q, k, v, out of self-attention, q and out of cross-attention.
    attention = 6 * square if size.family == "wan" else 4 * square
    return _FLOP_PER_MULTIPLY * (attention + 2 * size.width * size.feed_forward)


def _attention_flop(tokens: int, width: int) -> float:
    """Scores and weighted sum of one full self-attention."""
    return 2 * _FLOP_PER_MULTIPLY * float(tokens) ** 2 * width


def _context_flop(size: TransformerSize, tokens: int) -> float:
    """Wan's cross-attention of one stream in one block: keys, values, scores, sums."""
    if size.family != "wan":
        return 0.0
    context = TEXT_TOKENS["wan"] + size.image_tokens
    projections = 2 * _FLOP_PER_MULTIPLY * context * size.width**2
    return projections + 2 * _FLOP_PER_MULTIPLY * tokens * context * size.width
