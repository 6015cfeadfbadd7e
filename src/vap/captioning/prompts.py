"""Captions for a generation: given, written where they are missing, or read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from vap.captioning.instructions import Style, style_of
from vap.captioning.writer import CaptionedReference, Writer, find_writer
from vap.effects.effect import Effect
from vap.files.atomic import atomic_file
from vap.files.names import DEFAULT_MODEL
from vap.generation.request import GenerationRequest

_LARGEST = 1_000_000  # bytes


@validated(frozen=True, config=ConfigDict(extra="forbid"))
class Prompts:
    """Captions of a generation.

    Attributes:
        reference_prompts: One for each reference.
        prompt: Of the video to be made.
        written_by: The writer of those that were not given; empty if there was none.
    """

    reference_prompts: tuple[str, ...] = ()
    prompt: str = ""
    written_by: str = ""

    def request(self) -> dict[str, Any]:
        """Return the fields of a request that are not empty."""
        captions = self.reference_prompts if any(self.reference_prompts) else ()
        fields = {
            "reference_prompts": captions,
            "prompt": self.prompt,
            "captions_by": self.written_by,
        }
        return {name: value for name, value in fields.items() if value}

    def save(self, path: str | Path) -> Path:
        """Write them as JSON, to edit and to give to ``vap generate --prompts``."""
        place = Path(path)
        text = TypeAdapter(Prompts).dump_json(self, indent=2).decode()
        with atomic_file(place) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
        return place


def read_prompts(path: str | Path) -> Prompts:
    """Read captions from JSON.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    place = Path(path)
    if not place.is_file():
        raise FileNotFoundError(f"There are no captions at {place}. Write them with `vap caption`.")
    with place.open("rb") as file:
        data = file.read(_LARGEST + 1)
    try:
        if len(data) > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST:,} bytes")
        return TypeAdapter(Prompts).validate_json(data)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"])) or "file"
        raise ValueError(
            f"{place} holds no captions: {where}: {fault['msg']}. It needs reference_prompts, a "
            "list of texts, and prompt, a text."
        ) from error
    except ValueError as error:
        raise ValueError(f"{place} holds no captions: {error}.") from error


def write_prompts(
    references: Sequence[str | Path] = (),
    image: str | Path | None = None,
    *,
    reference_prompts: Sequence[str] = (),
    prompt: str = "",
    model: str = DEFAULT_MODEL,
    captioner: str | Writer | None = None,
) -> Prompts:
    """Write the captions of a generation that are missing.

    Args:
        references: Reference videos.
        image: The image to animate; without it, no prompt is written.
        reference_prompts: Captions of the references, in order; empty ones are written.
        prompt: Caption of the video to be made; written if it is empty.
        model: The model that they are for: it decides whether captions tell the effect.
        captioner: Who writes, see ``vap.captioning.writer.find_writer``; what is missing stays
            empty if nobody does.

    Raises:
        ValueError: If the writer cannot be used, or does not answer.
        FileNotFoundError: If a file is missing.
    """
    captions = tuple(reference_prompts) or ("",) * len(references)
    if len(captions) != len(references):
        raise ValueError(
            f"References: {len(references)}, reference prompts: {len(captions)}. Give one prompt "
            "for each reference, in order, or none."
        )
    lacking = not all(captions) or (image is not None and not prompt)
    writer = _writer(captioner) if lacking else None
    if writer is None:
        return Prompts(captions, prompt)
    style = style_of(model)
    shown = _captioned(writer, tuple(map(Path, references)), captions, style)
    if image is not None and not prompt:
        prompt = writer.target_caption(Path(image), shown, style)
    return Prompts(tuple(each.caption for each in shown), prompt, writer.name)


def with_prompts(
    request: GenerationRequest,
    captioner: str | Writer | None = None,
    *,
    effect: Effect | None = None,
) -> GenerationRequest:
    """Write the captions that a request with references lacks.

    Args:
        request: What to generate.
        captioner: Who writes, see ``vap.captioning.writer.find_writer``; what is missing stays
            empty if nobody does.
        effect: The request's effect: then the image's caption goes into its prompt.

    Returns:
        The request, which also names the writer for the record.

    Raises:
        ValueError: If the writer cannot be used, or does not answer.
    """
    captions = request.reference_prompts or ("",) * len(request.references)
    has_references = request.references or request.video_prompt is not None
    lacking = has_references and not (request.prompt and all(captions))
    writer = _writer(captioner) if lacking else None
    if writer is None:
        return request
    style = style_of(request.model)
    shown = _captioned(writer, request.references, captions, style)
    prompt = request.prompt
    if not prompt and effect is not None and effect.prompt:
        subject = writer.target_caption(request.image, (), "scene")
        prompt = effect.request(subject)["prompt"]
    elif not prompt:
        prompt = writer.target_caption(request.image, shown or _saved(request), style)
    # The model that makes the video needs the memory.
    writer.model.unload()
    written = tuple(each.caption for each in shown)
    return replace(request, reference_prompts=written, prompt=prompt, captions_by=writer.name)


def _writer(captioner: str | Writer | None) -> Writer | None:
    return captioner if isinstance(captioner, Writer) else find_writer(captioner)


def _captioned(
    writer: Writer, videos: Sequence[Path], captions: Sequence[str], style: Style
) -> list[CaptionedReference]:
    """The references, each with the caption that it has or that is written now."""
    return [
        CaptionedReference(caption or writer.reference_caption(video, style), video)
        for video, caption in zip(videos, captions, strict=True)
    ]


def _saved(request: GenerationRequest) -> list[CaptionedReference]:
    """The references of an encoded video prompt, of which only the captions can be read."""
    from vap.pipelines.video_prompt import saved_references

    assert request.video_prompt is not None
    return [CaptionedReference(each.caption) for each in saved_references(request.video_prompt)]
