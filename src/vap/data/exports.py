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
    """Write drawn samples: target, references, their captions.

    Returns:
        How many were written.
    """
    return _write_lines(
        path,
        (
            {
                "video": sample.target.video,
                "caption": sample.caption,
                "references": [row.video for row in sample.references],
                "reference_captions": list(sample.reference_captions),
                "condition": sample.target.condition,
            }
            for sample in samples
        ),
    )


def write_preferences(pairs: Iterable[PreferencePair], path: str | Path) -> int:
    """Write preference pairs: winner, loser and reference with captions and scores, and the weight.

    Returns:
        How many were written.
    """
    return _write_lines(
        path,
        (
            {
                "winner": pair.winner.video,
                "winner_caption": pair.winner.caption,
                "winner_score": pair.winner.score,
                "loser": pair.loser.video,
                "loser_caption": pair.loser.caption,
                "loser_score": pair.loser.score,
                "reference": pair.reference.video,
                "reference_caption": pair.reference.caption,
                "condition": pair.winner.condition,
                "weight": pair.weight,
            }
            for pair in pairs
        ),
    )


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
