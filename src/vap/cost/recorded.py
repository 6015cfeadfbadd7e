"""Footprints of the known models at their own size, so that predicting them traces nothing.

``python -m vap.cost.recorded`` traces them again; a test compares both.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch
from pydantic import TypeAdapter

from vap.cost.footprint import Footprint, Video, traced_footprint
from vap.cost.model import PlannedModel
from vap.cost.released import planned_model
from vap.files.names import known_models

_FILE = Path(__file__).parent / "footprints.json"
_FORM = TypeAdapter(dict[str, Footprint])


def footprint(
    model: PlannedModel, video: Video, dtype: torch.dtype, *, keep_references: bool = False
) -> Footprint:
    """What a model takes at a video size: recorded, or traced once, which takes seconds."""
    # Neither changes what a step takes.
    video = replace(video, steps=model.steps, reference_guidance=model.reference_guidance)
    known, name = _known(), key(model, video, dtype, keep_references=keep_references)
    if name not in known:
        known[name] = traced_footprint(model, video, dtype, keep_references=keep_references)
    return known[name]


def key(model: PlannedModel, video: Video, dtype: torch.dtype, *, keep_references: bool) -> str:
    """Of all that a footprint depends on, but for the code."""
    said = {**asdict(model), "video": asdict(video)}
    said |= {"bytes": dtype.itemsize, "keep_references": keep_references}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def cases() -> Iterator[tuple[PlannedModel, Video, torch.dtype, bool]]:
    """What is recorded."""
    for entry in known_models():
        model = planned_model(entry.name)
        assert model is not None
        for dtype in (torch.bfloat16, torch.float32):
            for keep_references in (False, True):
                yield model, Video.native(model), dtype, keep_references


@cache
def _known() -> dict[str, Footprint]:
    return _FORM.validate_json(_FILE.read_bytes())


def _record() -> None:
    found = {
        key(model, video, dtype, keep_references=keep): traced_footprint(
            model, video, dtype, keep_references=keep
        )
        for model, video, dtype, keep in cases()
    }
    _FILE.write_bytes(_FORM.dump_json(found) + b"\n")


if __name__ == "__main__":
    _record()
