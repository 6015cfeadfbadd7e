"""Samples and preference pairs as JSON lines, one a line, for other trainers and for reading."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vap.data.pairing import Sample
from vap.data.preferences import PreferencePair
from vap.files.atomic import atomic_file


def write_samples(samples: Iterable[Sample], path: str | Path) -> int:
    """Write drawn samples and return how many: target, references, their captions."""
    return _write_lines(path, map(_sample_record, samples))


def write_preferences(pairs: Iterable[PreferencePair], path: str | Path) -> int:
    """Write preference pairs and return how many: clips, captions, scores and the weight."""
    return _write_lines(path, map(_pair_record, pairs))


def _sample_record(sample: Sample) -> dict[str, Any]:
    return {
        "video": sample.target.video,
        "caption": sample.caption,
        "references": [row.video for row in sample.references],
        "reference_captions": list(sample.reference_captions),
        "condition": sample.target.condition,
    }


def _pair_record(pair: PreferencePair) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for side, row in (("winner", pair.winner), ("loser", pair.loser)):
        record |= {side: row.video, f"{side}_caption": row.caption, f"{side}_score": row.score}
    return record | {
        "reference": pair.reference.video,
        "reference_caption": pair.reference.caption,
        "condition": pair.winner.condition,
        "weight": pair.weight,
    }


def _write_lines(path: str | Path, records: Iterable[dict[str, Any]]) -> int:
    count = 0
    with (
        atomic_file(Path(path)) as partial,
        partial.open("w", encoding="utf-8", newline="\n") as file,
    ):
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count
