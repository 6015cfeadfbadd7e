"""Tiny tuning recipes: golden models and a dataset of random encodings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from vap.data.encoded import MANIFEST, EncodedClip, Shard, caption_digest, shard_name, write_shard
from vap.data.rows import ClipRow
from vap.data.table import Table, write_table
from vap.shapes import PixelShape
from vap.training.recipe import parse_recipe

GOLDEN = Path(__file__).parents[1] / "golden"
VARIANTS = ("wan", "cogvideox")
_SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "wan": {
        "latents": (16, 2, 4, 6),
        "condition": (20, 2, 4, 6),
        "text": (512, 32),
        "image": (5, 24),
    },
    "cogvideox": {
        "video_moments": (32, 3, 6, 8),
        "frame_moments": (32, 1, 6, 8),
        "text": (226, 32),
    },
}
_SCORES = (100.0, 95.0, 5.0, 0.0)
_PIXELS = {"wan": PixelShape(5, 32, 48), "cogvideox": PixelShape(9, 48, 64)}


def write_dataset(folder: Path, variant: str, clips: int = 8) -> Path:
    """A table of two conditions whose clips have scores from 0 to 100, and their encodings."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{index}.mp4" for index in range(clips)]
    rows = []
    for index, name in enumerate(names):
        others = tuple(n for n in names[index % 2 :: 2] if n != name)
        score = _SCORES[index // 2 % len(_SCORES)]
        rows.append(ClipRow(name, others, f"clip {index}", f"kind {index % 2}", "train", score))
    write_table(Table(tuple(rows)), folder / "table.csv")
    generator = torch.Generator().manual_seed(0)
    shapes = _SHAPES[variant]

    def encodings() -> dict[str, torch.Tensor]:
        tensors = {n: torch.randn(s, generator=generator) for n, s in shapes.items()}
        tensors["text"][9:] = 0
        return tensors

    clips_of = [
        EncodedClip(row.video, _PIXELS[variant], shapes["text"][0], caption_digest(row.caption))
        for row in rows
    ]
    empty = torch.zeros(shapes["text"])
    empty[0] = 1
    shard = Shard(clips_of, [encodings() for _ in names], {}, empty)
    write_shard(folder / shard_name(0), shard, torch.float32)
    (folder / MANIFEST).write_text(json.dumps({"shards": 1, "family": variant}))
    return folder


def recipe_tree(dataset: Path, output_to: Path, variant: str, **changes: Any) -> dict[str, Any]:
    """A recipe as plain values; ``changes`` replace or extend sections."""
    tree: dict[str, Any] = {
        "stage": "sft",
        "output": str(output_to),
        "model": {"start": str(GOLDEN / variant)},
        "data": {"table": str(dataset / "table.csv"), "encoded": str(dataset), "threshold": -1},
        "loop": {"steps": 3, "batch_size": 2, "log_every": 1, "checkpoint_every": 0, "threads": 1},
        "optimizer": {"learning_rate": 1e-3, "warmup": 0, "schedule": "constant"},
    }
    for key, value in changes.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    return tree


def recipe_of(dataset: Path, output_to: Path, variant: str, **changes: Any) -> Any:
    return parse_recipe(recipe_tree(dataset, output_to, variant, **changes))


def metrics_of(output: Path) -> list[dict[str, float]]:
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
