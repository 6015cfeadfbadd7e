"""The protocol of a system: cases in, videos out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from vap.evaluation.case import Case

Variant = Literal["own", "none", "swapped"]
"""Which reference a video is made with: the case's own, none, or one of another condition."""


@dataclass(frozen=True, slots=True)
class Job:
    """One video to make.

    Attributes:
        case: The case.
        seed: Of the noise.
        output: Where the video is written: ``.mp4``, or a folder of PNG frames where the
            benchmark is scored pixel by pixel.
        reference: The reference to use; None for no reference.
        reference_prompt: Its caption, effect included.
        reference_scene_prompt: Its caption without the effect.
        variant: Which reference this is.
    """

    case: Case
    seed: int
    output: Path
    reference: Path | None
    reference_prompt: str = ""
    reference_scene_prompt: str = ""
    variant: Variant = "own"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        job: The job.
        error: Why there is no video; None if there is one at ``job.output``.
        seconds: Time to make it.
        cost: What it cost, in the unit of the service (credits, dollars); 0 for local systems.
        details: What a reader may ask for later: a task id, the model's answer.
    """

    job: Job
    error: str | None = None
    seconds: float = 0.0
    cost: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


class System(BaseModel, ABC):
    """A system with its settings; a subclass for each kind.

    A system is described by a YAML file or by name, and can be sent to another process: weights
    are loaded in :meth:`run`, and kept with :func:`vap.evaluation.systems.kept.keep`, as a process
    may be given some jobs at a time.

    Attributes:
        name: Unique in a run, and usable as a file name.
        title: What tables call it; the name if empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: ClassVar[str]
    """What configs call the class, such as ``vap`` or ``kling``."""
    reads_reference: ClassVar[bool] = False
    """Whether results can depend on ``job.reference``: other systems make no variants of it."""
    remote: ClassVar[bool] = False
    """Whether the work is done elsewhere: all jobs of a remote system run in one process."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    title: str = ""

    @property
    def jobs_at_once(self) -> int:
        """How many jobs are made together: a run records them together, too."""
        return 1

    def check(self) -> None:
        """Refuse to start where something is missing: a key, weights, an extra.

        Raises:
            ValueError: What is missing and how to give it.
        """

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return all that decides the videos: settings, hashes of weights, versions.

        JSON values. A video of another identity is made again.
        """

    def covers(self, case: Case) -> bool:
        """Whether the system can be asked for this case."""
        del case
        return True

    @abstractmethod
    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Make the videos, in any order, and tell each as soon as its file is complete.

        A job that fails is an outcome with an error; an exception ends the run of the system.

        Args:
            jobs: What to make.
            folder: The run's folder for what the system keeps between runs, such as the tasks
                that it has paid for.
        """
