"""A backbone with one LoRA for each condition: trained on the effect, so no reference is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

from vap.evaluation.case import Case
from vap.evaluation.systems.base import Job, Outcome
from vap.evaluation.systems.local import file_digest
from vap.evaluation.systems.pipelines import WithoutReference
from vap.models.lora_file import lora_path


class ConditionLora(WithoutReference):
    """The backbone of a model, with the LoRA of the case's condition merged into its weights.

    Attributes:
        loras: Folder with ``CONDITION.safetensors``, or a folder ``CONDITION/`` as training
            writes it, for each condition. Cases of other conditions are not covered.
        scale: Of each LoRA's effect.
    """

    kind: ClassVar[str] = "lora"

    loras: Path
    scale: float = 1.0

    def check(self) -> None:
        """Refuse settings that cannot be, and a folder without any LoRA."""
        super().check()
        if self.request.lora:
            raise ValueError(f"{self.name}: leave out lora; loras names the folder of all.")
        files = self._files_by_condition()
        if not files:
            raise FileNotFoundError(
                f"{self.name}: {self.loras} has no LoRA. Give a folder with CONDITION.safetensors, "
                "or CONDITION/ as `vap train` writes it."
            )
        for file in files.values():
            lora_path(file)

    def covers(self, case: Case) -> bool:
        """Whether there is a LoRA of the case's condition."""
        return case.condition in self._files_by_condition()

    def identity(self) -> Mapping[str, Any]:
        """Return what the backbone's videos depend on, and a hash of each LoRA."""
        files = self._files_by_condition().items()
        hashes = {condition: file_digest(lora_path(file)) for condition, file in files}
        return {**super().identity(), "loras": hashes, "scale": self.scale}

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Generate condition by condition; the model is loaded again for each."""
        files = self._files_by_condition()
        ordered = sorted(jobs, key=_condition)
        for condition, group in groupby(ordered, key=_condition):
            request = replace(self.request, lora=(files[condition],), lora_scales=(self.scale,))
            adapted = WithoutReference(
                name=self.name, request=request, captions=self.captions, batch=self.batch
            )
            yield from adapted.run(list(group), folder)

    def _files_by_condition(self) -> dict[str, Path]:
        """The LoRA of each condition: a file or its folder."""
        found = sorted(self.loras.glob("*"))
        return {
            path.stem if path.suffix == ".safetensors" else path.name: path
            for path in found
            if path.suffix == ".safetensors" or path.is_dir()
        }


def _condition(job: Job) -> str:
    return job.case.condition
