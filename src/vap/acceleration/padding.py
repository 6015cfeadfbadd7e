"""Texts are encoded without their padding.

Wan pads every caption to 512 tokens, encodes all of them under a mask and puts zeros where the
padding was. Masked tokens reach no other, so a caption of twenty tokens needs twenty.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


def skip_padding(encoder: nn.Module) -> None:
    """Let a text encoder leave out what is padding at the end of all its texts.

    The hidden states of real tokens stay, to rounding; those of padding are zero. A call without
    an attention mask is left alone: then padding counts (CogVideoX).
    """
    if any(_is_cut(hook) for hook in encoder._forward_pre_hooks.values()):
        return
    skipper = _Skipper()
    encoder.register_forward_pre_hook(skipper.cut, with_kwargs=True)
    encoder.register_forward_hook(skipper.restore)


class _Skipper:
    """What one call has left out."""

    def __init__(self) -> None:
        self._missing = 0

    def cut(
        self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        self._missing = 0
        names = dict(zip(("input_ids", "attention_mask"), args, strict=False))
        given = {**kwargs, **names}
        ids, mask = given.get("input_ids"), given.get("attention_mask")
        if not isinstance(ids, Tensor) or not isinstance(mask, Tensor) or not mask.any():
            return None
        length = int(mask.any(dim=0).nonzero().max()) + 1
        self._missing = ids.shape[1] - length
        shorter = {"input_ids": ids[:, :length], "attention_mask": mask[:, :length]}
        return (), {**given, **shorter}

    def restore(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if self._missing:
            states = F.pad(output.last_hidden_state, (0, 0, 0, self._missing))
            output.last_hidden_state = states
        return output


def _is_cut(hook: Any) -> bool:
    return isinstance(getattr(hook, "__self__", None), _Skipper)
