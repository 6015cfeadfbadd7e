"""Texts of a call: one form, checked lengths, and a word about what is too long."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch

_SHOWN = 100  # letters from each end of what is cut


def as_prompts(prompt: str | Sequence[str] | None, count: int = 1) -> list[str] | None:
    """One prompt or several, as a list; a single one is repeated ``count`` times."""
    if prompt is None:
        return None
    return [prompt] * count if isinstance(prompt, str) else list(prompt)


class TextLimitMixin:
    """Mixed into a diffusers pipeline: text that the encoder does not read is told."""

    def _get_t5_prompt_embeds(
        self, prompt: str | Sequence[str], *, max_sequence_length: int, **options: Any
    ) -> torch.Tensor:
        warn_of_cut_text(self.tokenizer, as_prompts(prompt) or [], max_sequence_length)  # type: ignore[attr-defined]
        embeds: torch.Tensor = super()._get_t5_prompt_embeds(  # type: ignore[misc]
            prompt=prompt, max_sequence_length=max_sequence_length, **options
        )
        return embeds


def warn_of_cut_text(tokenizer: Any, texts: Sequence[str], tokens: int) -> None:
    """Warn of the part of each text that is beyond the encoder's limit."""
    for text in texts:
        read = tokenizer(text, add_special_tokens=True, return_offsets_mapping=True)
        if len(read.input_ids) > tokens:
            # The last token that is read is the end token.
            cut = text[read.offset_mapping[tokens - 1][0] :]
            ends = [cut] if len(cut) <= 2 * _SHOWN else [cut[:_SHOWN], cut[-_SHOWN:]]
            shown = " … ".join(map(repr, ends))
            warnings.warn(
                f"A text has {len(read.input_ids)} tokens, and the model reads {tokens}. This part "
                f"has no effect: {shown}. Shorten the text.",
                stacklevel=2,
            )


def check_given(
    name: str, text: object | None, embeds: torch.Tensor | None, *, needed: bool = True
) -> None:
    """Refuse a text given twice, or not at all."""
    if text is not None and embeds is not None:
        raise ValueError(f"Give either {name} or {name}_embeds, not both.")
    if needed and text is None and embeds is None:
        raise ValueError(f'Give a {name} (an empty one, "", is allowed) or {name}_embeds.')


def check_texts(
    tokens: int,
    given: tuple[int, torch.Tensor | None, torch.Tensor | None],
    *,
    always: bool,
    compared: bool,
) -> None:
    """Refuse texts that are longer or shorter than a model reads.

    Args:
        tokens: What it reads of a text.
        given: Length to encode at, and embeddings ``[B, L, D]`` of text and negative text.
        always: Whether it cannot tell where others end.
        compared: Whether a negative prompt stands in for the references' texts, which have it.
    """
    length, *embeddings = given
    lengths = {length if each is None else each.shape[1] for each in embeddings}
    wrong = sorted((lengths | {length} if always else lengths) - {tokens})
    if wrong and (always or compared):
        where = "" if always else " where guidance and references come together"
        raise ValueError(
            f"A text of {wrong[0]} tokens: this model reads {tokens}{where}. Leave "
            f"max_sequence_length alone, and give prompt_embeds of [B, {tokens}, D], as "
            f"encode_prompt makes them with max_sequence_length={tokens}."
        )
