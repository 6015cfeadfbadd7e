"""Frames of some cases, kept as small pictures for the contact sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vap.evaluation.metrics.gap import Video
from vap.files.atomic import atomic_file
from vap.media import SheetRow, select_frames, write_sheet
from vap.media.pixels import to_uint8
from vap.mini.evaluation.cases import SPLITS, Case, CaseSpec
from vap.mini.evaluation.systems import BOUNDS, TITLES
from vap.synth import CONDITIONS

_FRAMES = 5
_BRIEF = (0, 2, 4)  # of these, start, middle and end
_SHOWN, _IN_DETAIL = 12, 2  # cases of a split: in brief, and with all systems
_REFERENCE, _TRUTH, _OURS = "reference", "truth", "vap"

SHEETS = tuple(f"{split}{kind}.png" for split in SPLITS for kind in ("", "-systems"))
"""What :meth:`Strips.write_sheets` may write."""


class Strips:
    """Strips of frames in a folder, and the sheets made of them."""

    def __init__(self, folder: Path, specs: Sequence[CaseSpec], made_by: Mapping[str, str]) -> None:
        self._folder, self._made_by = folder, made_by
        self._shown = [spec for spec in specs if spec.index < _SHOWN]

    def keep(self, cases: Sequence[Case], system: str, videos: Sequence[Video]) -> None:
        """Keep what will be shown of a system's videos, and of the cases themselves."""
        for case, video in zip(cases, videos, strict=True):
            if case.spec not in self._shown:
                continue
            if system == BOUNDS[0]:
                self._write(case.spec, _REFERENCE, case.pair.reference.frames)
                self._write(case.spec, _TRUTH, case.pair.target.frames)
            if system == _OURS or case.spec.index < _IN_DETAIL:
                self._write(case.spec, system, to_uint8(system, video))

    def write_sheets(self, folder: Path, systems: Sequence[str]) -> list[Path]:
        """Write two sheets a split: many cases in brief, and two with every system."""
        written = []
        for split in dict.fromkeys(spec.split for spec in self._shown):
            specs = [spec for spec in self._shown if spec.split == split]
            brief = [row for spec in specs if (row := self._brief(spec, systems)) is not None]
            detail = [
                row for spec in specs if spec.index < _IN_DETAIL for row in self._all(spec, systems)
            ]
            if brief:
                written.append(write_sheet(folder / f"{split}.png", brief, 3 * len(_BRIEF)))
            if detail:
                written.append(write_sheet(folder / f"{split}-systems.png", detail, _FRAMES))
        return written

    def _brief(self, spec: CaseSpec, systems: Sequence[str]) -> SheetRow | None:
        """Start, middle and end of the reference, the truth and the result."""
        names = [_REFERENCE, _TRUTH, *(name for name in systems if name == _OURS)]
        strips = [self._read(spec, name) for name in names]
        found = [strip[list(_BRIEF)] for strip in strips if strip is not None]
        if not found:
            return None
        return SheetRow(spec.condition, np.concatenate(found), "reference, truth, result")

    def _all(self, spec: CaseSpec, systems: Sequence[str]) -> list[SheetRow]:
        """A row for the reference, then one for every system."""
        reference = self._read(spec, _REFERENCE)
        if reference is None:
            return []
        rows = [
            SheetRow(f"{spec.condition}: reference", reference, CONDITIONS[spec.condition].phrase)
        ]
        strips = ((name, self._read(spec, name)) for name in systems)
        return rows + [SheetRow(TITLES[n].strip("*"), s) for n, s in strips if s is not None]

    def _place(self, spec: CaseSpec, name: str) -> Path:
        # The cases themselves are kept with the first bound.
        made_by = self._made_by.get(name, self._made_by[BOUNDS[0]])
        return self._folder / f"{spec.name}-{name}-{made_by}.png"

    def _write(self, spec: CaseSpec, name: str, frames: NDArray[np.uint8]) -> None:
        chosen = frames[select_frames(len(frames), _FRAMES)]
        with atomic_file(self._place(spec, name)) as temporary:
            Image.fromarray(np.concatenate(list(chosen), axis=1)).save(temporary, format="PNG")

    def _read(self, spec: CaseSpec, name: str) -> NDArray[np.uint8] | None:
        path = self._place(spec, name)
        if not path.is_file():
            return None
        with Image.open(path, formats=["PNG"]) as image:
            strip = np.asarray(image)
        return np.stack(np.split(strip, _FRAMES, axis=1))
