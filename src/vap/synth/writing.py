"""Pairs on disk in the layout of VAP-Data, with the true targets."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vap.data.benchmark import write_benchmark
from vap.data.rows import MAX_SCORE, TRAIN, BenchmarkRow, ClipRow
from vap.data.table import Table, write_table
from vap.files.atomic import atomic_file
from vap.media import write_video
from vap.synth.clip_spec import ClipSpec
from vap.synth.pairs import Split, pair_spec

VIDEOS, TABLE = "vfx_videos", "vap_data.csv"
BENCHMARK = "benchmark/benchmark.csv"
SETTINGS = "synth.json"
PARAMETERS = "parameters"  # extra column: the true parameters, as JSON

_TRAINING_SPLITS = frozenset({"train", "backbone"})


@dataclass(frozen=True)
class SynthSettings:
    """What all clips of a folder share; written there, so that a later run can only continue it."""

    split: Split = "train"  # which conditions and scenes are drawn
    seed: int = 0  # of the whole set
    height: int = 64  # in pixels
    width: int = 96  # in pixels
    frames: int = 17
    fps: float = 16.0  # frames a second of the written videos
    effect_in_caption: float = 0.1  # share of the pairs whose captions tell the effect
    # Share of the pairs that show a variation of their condition, each a condition of its own in
    # the tables.
    varied: float = 0.0
    mixed: float = 0.0  # share of these that also lie sideways or stand beside another condition
    drawn: float = 0.0  # share of the pairs without photographs and noise-like textures


def write_pairs(
    count: int,
    out_dir: str | Path,
    settings: SynthSettings | None = None,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Render pairs into a folder with the layout of VAP-Data.

    Every clip is a row of ``vap_data.csv`` whose reference is its partner; every pair is a case of
    ``benchmark/benchmark.csv``. Videos appear whole or not at all and tables come last, so an
    interrupted run is continued by calling again; a larger ``count`` adds to the folder.

    Args:
        count: Pairs that the tables list at the end, ≥ 1.
        out_dir: The folder, new, empty or of an earlier run with the same settings.
        settings: What to draw and how large.
        progress: Called after each pair with its name, the number done and the total.

    Returns:
        The path of ``vap_data.csv``.

    Raises:
        ValueError: If ``count`` is not positive, or the folder has other settings or other files.
        MissingExtraError: If OpenCV or scikit-image is not installed.
    """
    settings = settings or SynthSettings()
    if count < 1:
        raise ValueError(f"count={count} pairs cannot be written; use at least 1.")
    root = Path(out_dir)
    if not (root / SETTINGS).exists():
        # What is refused leaves nothing in a folder that would be this run's from then on.
        first, _ = pair_spec(settings.seed, 0, split=settings.split)
        with tempfile.TemporaryDirectory() as folder:
            _write_clip(first, Path(folder) / "first.mp4", settings)
    _claim(root, settings)
    clips: list[ClipRow] = []
    cases: list[BenchmarkRow] = []
    for index in range(count):
        reference, target = pair_spec(
            settings.seed,
            index,
            split=settings.split,
            effect_in_caption=settings.effect_in_caption,
            varied=settings.varied,
            mixed=settings.mixed,
            drawn=settings.drawn,
        )
        # What a variation shows, no other pair does: a condition of its own.
        label = f"{target.condition}_varied_{index:06}" if target.variation else target.condition
        folder = f"{VIDEOS}/{label}/{index:06}"
        paths = [f"{folder}_reference.mp4", f"{folder}_target.mp4"]
        for spec, path in zip((reference, target), paths, strict=True):
            _write_clip(spec, root / path, settings)
        clips += [
            _row(reference, label, paths[0], paths[1], settings.split),
            _row(target, label, paths[1], paths[0], settings.split),
        ]
        cases.append(BenchmarkRow(paths[1], paths[0], target.caption, reference.caption))
        if progress is not None:
            progress("pairs", index + 1, count)
    write_benchmark(cases, root / BENCHMARK)
    write_table(Table(tuple(clips), (PARAMETERS,)), root / TABLE)
    return root / TABLE


def _claim(root: Path, settings: SynthSettings) -> None:
    """Note the settings in the folder, or check that they are the ones it has."""
    path = root / SETTINGS
    wanted = asdict(settings)
    # But for hidden ones, which a killed run may have left.
    entries = root.iterdir() if root.is_dir() else ()
    others = any(entry != path and not entry.name.startswith(".") for entry in entries)
    if not path.exists() or not others:
        if others:
            raise ValueError(
                f"{root} has other files than pairs of VAP-Synth; use a new or empty folder."
            )
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = "an unreadable file"
    if isinstance(found, dict):
        found = {**asdict(SynthSettings()), **found}  # of a run before a setting existed
    if found != wanted:
        raise ValueError(
            f"{root} has pairs with other settings: {found}, not {wanted}. Use these settings "
            "to continue it, or another folder."
        )


def _parameters(spec: ClipSpec) -> dict[str, Any]:
    """The true parameters, with what a variation changes."""
    varied = {} if spec.variation is None else {"variation": asdict(spec.variation)}
    return {**spec.parameters, **varied}


def _write_clip(spec: ClipSpec, path: Path, settings: SynthSettings) -> None:
    """Render and write a clip unless an earlier run has."""
    if path.exists():
        return
    clip = spec.render(settings.height, settings.width, settings.frames)
    facts = {
        "condition": clip.condition,
        "parameters": _parameters(spec),
        "caption": clip.caption,
        "composition": asdict(clip.composition),
    }
    write_video(clip.frames, path, settings.fps, metadata=facts)


def _row(spec: ClipSpec, label: str, path: str, partner: str, split: Split) -> ClipRow:
    return ClipRow(
        video=path,
        references=(partner,),
        caption=spec.caption,
        condition=label,
        split=TRAIN if split in _TRAINING_SPLITS else "test",
        score=MAX_SCORE,
        extras=(json.dumps(_parameters(spec)),),
    )
