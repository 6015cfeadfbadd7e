"""Captions by a vision-language model."""

from __future__ import annotations

from dataclasses import dataclass

from vap.captioning.writer import KINDS, Writer, find_writer
from vap.data.clip_files import InspectedClip


@dataclass(frozen=True, slots=True)
class ModelCaptioner:
    """Has clips described, with what happens in them, by the writer of reference captions."""

    writer: Writer

    @classmethod
    def named(cls, name: str) -> ModelCaptioner:
        """Find a model: a folder or Hub id of transformers, or as ``--captioner`` names it."""
        writer = find_writer(name if name.partition(":")[0] in KINDS else f"local:{name}")
        assert writer is not None
        return cls(writer)

    def caption(self, clip: InspectedClip) -> str:
        """The model's answer, on one line."""
        return self.writer.reference_caption(clip.path, "described")
