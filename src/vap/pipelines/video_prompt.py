"""Video prompts: reference videos with their captions, encoded once and reused.

A ``VideoPrompt`` contains all that a pipeline needs of its references (latents, text and image
embeddings), for any number of images and seeds. It gives exactly the same result as the videos.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import BaseModel, Json, PositiveInt, ValidationError
from safetensors import SafetensorError, safe_open

from vap.files.reading import reading
from vap.files.weights import save_tensors
from vap.shapes import Family, PixelShape

_FORMAT = "vap-video-prompt"
_FORMAT_VERSION = 1
ENCODINGS: Mapping[Family, frozenset[str]] = {
    "wan": frozenset({"latents", "condition", "text"}),
    "cogvideox": frozenset({"video_moments", "frame_moments", "text"}),
}
"""Tensors of a video prompt, by variant."""
OPTIONAL_ENCODINGS: Mapping[Family, frozenset[str]] = {
    "wan": frozenset({"image"}),
    "cogvideox": frozenset(),
}
"""Those of models with an image encoder alone."""
_ENCODERS = ("vae", "text_encoder", "image_encoder")
_SAMPLED = 4096
# Encodings [R, N, D]; the others are [R, C, F, H, W].
_TOKENS = frozenset({"text", "image"})


@dataclass(frozen=True, slots=True)
class ReferenceSource:
    """Where one reference came from.

    Attributes:
        name: File name, or a word for frames given in memory.
        sha256: Hash of the file's bytes, or of the frames.
        caption: Its reference prompt.
        fps: Frames a second of the source.
        frames: Indices of the source's frames that were taken.
    """

    name: str
    sha256: str
    caption: str
    fps: float
    frames: tuple[int, ...]


class _Header(BaseModel):
    """The header as it stands in the file, where every value is text."""

    format_version: PositiveInt
    family: Family
    fingerprint: str
    shape: Json[PixelShape]
    has_last_frame: Json[bool]
    references: Json[tuple[ReferenceSource, ...]]


@dataclass(frozen=True, eq=False)
class VideoPrompt:
    """One or more reference videos, encoded for one model at one size.

    Attributes:
        family: Variant that it was encoded for.
        fingerprint: Identifies the encoders; a prompt fits only models with the same.
        shape: Pixel size that the references were brought to.
        has_last_frame: Whether the last frame joins the conditions (Wan's ``last_image``).
        references: Where the references came from, in order.
        tensors: Encodings by name, the first axis R. Wan: ``latents`` and ``condition``
            ``[R, C, F, H, W]``, ``text`` ``[R, L, D]``, ``image`` ``[R, I, D]``. CogVideoX:
            ``video_moments`` ``[R, 2C, F, H, W]``, ``frame_moments`` ``[R, 2C, 1, H, W]``
            (posteriors are sampled at use), ``text``.
    """

    family: Family
    fingerprint: str
    shape: PixelShape
    has_last_frame: bool
    references: tuple[ReferenceSource, ...]
    tensors: Mapping[str, torch.Tensor]

    def __len__(self) -> int:
        """Number of references R."""
        return len(self.references)

    @property
    def captions(self) -> tuple[str, ...]:
        """Reference prompts, in order."""
        return tuple(source.caption for source in self.references)

    def joined(self, *others: VideoPrompt) -> VideoPrompt:
        """One prompt with the references of several, in order, on the device of this one.

        Raises:
            ValueError: If they were encoded by different models or at different sizes.
        """
        for other in others:
            self._check_same("fingerprint", self.fingerprint, other.fingerprint)
            self._check_same("size", self.shape, other.shape)
            self._check_same("last-frame setting", self.has_last_frame, other.has_last_frame)
        parts = (self, *others)
        tensors = {
            name: torch.cat([part.tensors[name].to(mine.device) for part in parts])
            for name, mine in self.tensors.items()
        }
        return VideoPrompt(
            self.family,
            self.fingerprint,
            self.shape,
            self.has_last_frame,
            tuple(source for part in parts for source in part.references),
            tensors,
        )

    def check_fits(
        self, family: Family, fingerprint: str | None, shape: PixelShape, *, has_last_frame: bool
    ) -> None:
        """Refuse to be used with another model, size or setting than it was encoded for."""
        self._check_same("model family", self.family, family)
        if fingerprint is not None:
            self._check_same("encoders", self.fingerprint, fingerprint)
        self._check_same("size", self.shape, shape)
        self._check_same("last-frame setting", self.has_last_frame, has_last_frame)

    def check_sizes(self, sizes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse encodings of other sizes than a model reads."""
        for name, tensor in self.tensors.items():
            ending = tuple(tensor.shape[-len(sizes[name]) :])
            self._check_same(f"encoding {name!r}", ending, sizes[name])

    @staticmethod
    def _check_same(what: str, mine: object, other: object) -> None:
        if mine != other:
            raise ValueError(
                f"This video prompt does not fit: its {what} is {mine}, but must be {other}. "
                "Encode the reference again with encode_video_prompt (or `vap prompt encode`)."
            )

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, atomically."""
        header = {
            "format": _FORMAT,
            "format_version": str(_FORMAT_VERSION),
            "family": self.family,
            "fingerprint": self.fingerprint,
            "shape": json.dumps(asdict(self.shape)),
            "has_last_frame": json.dumps(self.has_last_frame),
            "references": json.dumps([asdict(source) for source in self.references]),
        }
        save_tensors(self.tensors, Path(path), header)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file written by ``save``.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, no video prompt, or of a later format.
        """
        file = Path(path)
        with _opened(file) as (stored, header):
            # Copies: a mapped tensor has neither torch's alignment nor a life of its own.
            tensors = {name: stored.get_tensor(name).clone() for name in stored.keys()}  # noqa: SIM118 - not a dict
        _check_tensors(header, tensors, file)
        return cls(
            family=header.family,
            fingerprint=header.fingerprint,
            shape=header.shape,
            has_last_frame=header.has_last_frame,
            references=header.references,
            tensors=tensors,
        )


def saved_references(path: str | Path) -> tuple[ReferenceSource, ...]:
    """The references of a saved video prompt, from its header; no tensor is read."""
    with _opened(Path(path)) as (_, header):
        return header.references


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, _Header]]:
    """A saved prompt's tensors, still in the file, and its header."""
    if not file.is_file():
        raise FileNotFoundError(
            f"There is no video prompt at {file}. Make one with `vap prompt encode`."
        )
    try:
        with safe_open(file, framework="pt") as stored:
            yield stored, _check_header(stored.metadata() or {}, file)
    except (SafetensorError, ValidationError) as error:
        raise ValueError(
            f"{file} is damaged or not a video prompt ({error}). Encode it again."
        ) from error


def _check_header(header: Mapping[str, str], file: Path) -> _Header:
    if header.get("format") != _FORMAT:
        raise ValueError(f"{file} is not a video prompt. Make one with `vap prompt encode`.")
    parsed = _Header.model_validate(header)
    if parsed.format_version > _FORMAT_VERSION:
        raise ValueError(
            f"{file} has video-prompt format {parsed.format_version}; this version reads up "
            f"to {_FORMAT_VERSION}. Update video-as-prompt, or encode it again."
        )
    return parsed


def _check_tensors(header: _Header, tensors: Mapping[str, torch.Tensor], file: Path) -> None:
    """See that every encoding is there, once for each reference, and nothing else."""
    needed = ENCODINGS[header.family]
    known = needed | OPTIONAL_ENCODINGS[header.family]
    wrong = sorted(
        name
        for name, each in tensors.items()
        if name not in known
        or not each.is_floating_point()
        or each.ndim != (3 if name in _TOKENS else 5)
    )
    if wrong:
        raise ValueError(
            f"{file} is damaged: {', '.join(wrong)} is not an encoding of {header.family}, or not "
            "floating-point. Encode it again."
        )
    missing = sorted(needed - tensors.keys())
    lengths = {tensor.shape[:1] for tensor in tensors.values()}
    if missing or not header.references or lengths != {(len(header.references),)}:
        raise ValueError(
            f"{file} is damaged: it names {len(header.references)} references and lacks "
            f"{', '.join(missing) or 'encodings of some'}. Encode it again."
        )


def fingerprint(family: Family, configs: Sequence[Mapping[str, Any] | None], weights: bytes) -> str:
    """Hash of encoders."""
    digest = hashlib.sha256(family.encode())
    for config in configs:
        digest.update(json.dumps(_identity(config or {}), sort_keys=True, default=str).encode())
    digest.update(weights)
    return digest.hexdigest()[:16]


def sampled_weights(vae: torch.nn.Module) -> bytes:
    """The first weights and the last of a VAE, rounded to bfloat16.

    So a model that is loaded in bfloat16 is the one that is loaded in float32. In float16 it is
    another: what was rounded to that before does not round to the same bfloat16.
    """
    parameters = list(vae.parameters())
    samples = []
    for parameter in (parameters[0], parameters[-1]):
        values = parameter.detach().flatten()[:_SAMPLED]
        rounded = values.to("cpu", torch.bfloat16).contiguous()
        samples.append(rounded.view(torch.uint8).numpy().tobytes())
    return b"".join(samples)


def encoder_configs(pipeline: Any) -> list[Mapping[str, Any] | None]:
    """Configurations of a pipeline's VAE, text and image encoder."""
    return [_config(pipeline, name) for name in _ENCODERS]


def _config(pipeline: Any, name: str) -> Mapping[str, Any] | None:
    encoder = getattr(pipeline, name, None)
    if encoder is not None:
        config: Any = getattr(encoder, "config", None)
        return config.to_dict() if hasattr(config, "to_dict") else dict(config or {})
    reads_images = getattr(pipeline.transformer.config, "image_dim", None) is not None
    if name == "image_encoder" and not reads_images:
        return {}
    folder = pipeline.name_or_path
    if not folder or not Path(folder, name, "config.json").is_file():
        return None
    with reading(Path(folder, name)):
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(Path(folder, name)).to_dict()


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a component's configuration decides its outputs."""
    volatile = ("dtype", "torch_dtype", "transformers_version", "architectures")
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in volatile}
