"""Videos that were made elsewhere: a folder of files, found by the name of the case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import field_validator

from vap.evaluation.systems.base import Job, Outcome, System
from vap.files.atomic import atomic_file
from vap.media import probe_clip, read_clip, write_video

_FIELDS = ("case", "condition", "group", "seed", "variant")


class Folder(System):
    """Videos in a folder; a missing one is an error that names the file that is expected.

    Attributes:
        path: The folder.
        pattern: Name of a file in it, or of a folder of frames, with ``{case}``, ``{condition}``,
            ``{group}``, ``{seed}`` and ``{variant}``.
        reference: Whether the videos depend on the reference, so that variants of it are looked
            for; the pattern then has ``{variant}``.
    """

    kind: ClassVar[str] = "folder"
    remote: ClassVar[bool] = True

    path: Path
    pattern: str = "{case}.mp4"

    @field_validator("pattern")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        try:
            name = pattern.format(**dict.fromkeys(_FIELDS, "x"))
        except (KeyError, IndexError, ValueError) as error:
            allowed = ", ".join(f"{{{name}}}" for name in _FIELDS)
            raise ValueError(f"{pattern!r} is no pattern ({error}); use {allowed}.") from None
        if "{case}" not in pattern:
            raise ValueError(f"{pattern!r} must contain {{case}}, so that each case has its own.")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{pattern!r} must name files in the folder.")
        return pattern

    def check(self) -> None:
        """Refuse to start without the folder."""
        if not self.path.is_dir():
            raise ValueError(f"The system {self.name!r} needs the folder {self.path}.")

    def identity(self) -> Mapping[str, Any]:
        """Return where the videos are; a video that changes there is not noticed."""
        return {"kind": self.kind, "path": str(self.path.absolute()), "pattern": self.pattern}

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Copy the videos into the run, so that it is whole without the folder."""
        del folder
        for job in jobs:
            source = self.path / self.file_name(job)
            try:
                _copy(source, job.output)
            except ValueError as error:  # MediaError is one
                yield Outcome(job, f"Expected the video {source}: {error}")
            else:
                yield Outcome(job, details={"source": str(source)})

    def file_name(self, job: Job) -> str:
        """Return the name of a job's video in the folder."""
        case = job.case
        return self.pattern.format(
            case=case.name,
            condition=case.condition,
            group=case.group,
            seed=job.seed,
            variant=job.variant,
        )


def _copy(source: Path, output: Path) -> None:
    """Copy an MP4 as it is; write anything else in the form of the output."""
    info = probe_clip(source)
    if source.is_file() and output.suffix.lower() == ".mp4" and info.kind == "mov":
        with atomic_file(output) as temporary:
            temporary.write_bytes(source.read_bytes())
    else:
        clip = read_clip(source)
        write_video(clip.frames, output, clip.fps)
