"""The job of encoding a dataset, and the manifest that reserves its folder.

The first job in a folder writes its manifest there, and any other is refused from then on. Every
shard notes its job too, so that a mixture is found.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from vap.data.encoded import JOB, MANIFEST, read_manifest, shard_name
from vap.data.rows import ClipRow
from vap.files.atomic import atomic_file, hidden_folder
from vap.media.timing import exact_rate
from vap.shapes import PixelShape

StoredAs = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """How clips are encoded."""

    model: str  # pipeline folder, bundled model or Hub id whose VAE and encoders are used
    # Sizes that a clip may be brought to; see :func:`vap.data.encode.choose_size`.
    sizes: tuple[PixelShape, ...]
    fps: float = 16.0  # rate that clips are read at before frames are taken evenly (release: 16)
    shard_size: int = 64
    stored_as: StoredAs = "float16"  # precision of what is written

    def __post_init__(self) -> None:
        exact_rate(self.fps)
        if not self.sizes or self.shard_size < 1:
            raise ValueError(
                f"sizes={self.sizes}, shard_size={self.shard_size}: give at least one size, and "
                "at least one clip per shard."
            )


@dataclass(frozen=True, slots=True)
class EncodeJob:
    """What to encode: path and caption of every clip."""

    settings: EncodeSettings
    root: Path
    clips: tuple[tuple[str, str], ...] = field(repr=False)
    output: Path
    digest: str = ""  # of the manifest

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-len(self.clips) // self.settings.shard_size)

    def has(self, shard: int) -> bool:
        """Whether a shard is there, whoever wrote it."""
        return (self.output / shard_name(shard)).is_file()

    def missing(self) -> list[int]:
        """Shards that are not there yet."""
        return [shard for shard in range(self.shards) if not self.has(shard)]


def plan_job(
    rows: Iterable[ClipRow], settings: EncodeSettings, root: Path, output: Path
) -> EncodeJob:
    """Plan the shards of a table's usable rows, and reserve the output folder."""
    clips = tuple((row.video, row.caption) for row in rows if row.usable)
    if not clips:
        raise ValueError("There is nothing to encode: the table has no usable row.")
    _check_sizes(settings)
    job = EncodeJob(settings, root, clips, output)
    manifest = _manifest(job)
    output.mkdir(parents=True, exist_ok=True)
    if not (output / MANIFEST).is_file() and not _has_shards(output):
        _claim(output / MANIFEST, manifest)
    found = read_manifest(output)
    _check_same(found, manifest, job)
    return replace(job, digest=found[JOB])


def _check_sizes(settings: EncodeSettings) -> None:
    """Refuse sizes that the model cannot take, before it is loaded."""
    from vap.cost.model import PlannedModel
    from vap.files.folders import family_of
    from vap.files.names import resolve_folder

    folder = resolve_folder(settings.model)
    compression = PlannedModel.from_folder(folder, family_of(folder)).compression
    for size in settings.sizes:
        compression.check(size)


def _manifest(job: EncodeJob) -> dict[str, Any]:
    """Identity of a job: same manifest, same shards. Paths are not part of it."""
    from vap.data.clip_encoder import encoders_identity

    settings = asdict(job.settings)
    listed = json.dumps(job.clips, ensure_ascii=False).encode()
    manifest = {
        **{key: value for key, value in settings.items() if key != "model"},
        "sizes": list(settings["sizes"]),
        "fps": float(job.settings.fps),
        **encoders_identity(job.settings.model),
        "clips": len(job.clips),
        "clips_sha256": hashlib.sha256(listed).hexdigest(),
        "shards": job.shards,
    }
    whole = json.dumps(manifest, sort_keys=True).encode()
    return {**manifest, JOB: hashlib.sha256(whole).hexdigest()}


def _claim(place: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest whole, unless another process was first."""
    text = json.dumps(manifest, indent=2) + "\n"
    with hidden_folder(place.parent) as hidden:
        draft = hidden / place.name
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, place)
        except FileExistsError:
            pass
        except OSError:
            # A file system without links; should two jobs meet here, their shards tell.
            with atomic_file(place) as partial:
                partial.write_text(text, encoding="utf-8")


def _check_same(found: Mapping[str, Any], manifest: Mapping[str, Any], job: EncodeJob) -> None:
    """Refuse a folder whose manifest is not the job's."""
    from vap.data.clip_encoder import other_encoders

    others = set(other_encoders(found, job.settings.model))
    compared = manifest.keys() - {JOB, "family", "encoders"}
    others |= {key for key in compared if found.get(key) != manifest[key]}
    if not others:
        return
    differ = f"{', '.join(sorted(others))} differ"
    message = (
        f"{job.output} has shards of another job: {differ}. Use the same settings and table, or "
        "another folder."
    )
    if not _has_shards(job.output):
        message = (
            f"{job.output} was started by another job: {differ}. Encode into another folder or, "
            f"as it has no shard yet, remove {job.output / MANIFEST} if that job no longer runs."
        )
    raise ValueError(message)


def _has_shards(folder: Path) -> bool:
    return any(folder.glob("shard-*.safetensors"))
