"""One block of the CogVideoX variant: the stock block, and its coupling with an expert block."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from torch import nn

from vap.models.attention import CoupledBlock, JointAttnProcessor, Projections
from vap.models.rope import RotaryTable


class CogVideoXJointAttnProcessor(JointAttnProcessor):
    """Stock self-attention over text and video, or joint attention with the reference stream.

    By diffusers' dispatcher, which the stock processor does not call: the same bits.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        image_rotary_emb: RotaryTable | None = None,
        reference_hidden_states: torch.Tensor | None = None,
        reference_encoder_hidden_states: torch.Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
        reference_output: bool = True,
    ) -> tuple[torch.Tensor, ...]:
        """Attend; video tokens ``[B, N, D]``, text ``[B, L, D]``, references ``[B, R·N, D]``.

        Without references, those that were kept are read, where this step reads them.
        """
        if attention_mask is not None:
            raise ValueError(
                "attention_mask is not supported: text and video attend to all tokens."
            )
        text_tokens = encoder_hidden_states.shape[1]
        reference = None
        if reference_hidden_states is not None:
            assert reference_encoder_hidden_states is not None
            reference = partial(
                _project,
                attn.expert[0],
                reference_encoder_hidden_states,
                reference_hidden_states,
                reference_rotary_emb,
            )
        attended, reference_attended = self._attend(
            [_project(attn, encoder_hidden_states, hidden_states, image_rotary_emb)],
            reference,
            strength=reference_strength,
            reference_output=reference_output,
        )
        output = _output(attn, attended, text_tokens)
        if reference_attended is None or reference_encoder_hidden_states is None:
            return output
        reference_text_tokens = reference_encoder_hidden_states.shape[1]
        return *output, *_output(attn.expert[0], reference_attended, reference_text_tokens)


class CogVideoXVideoAsPromptBlock(CoupledBlock, CogVideoXBlock):
    """A CogVideoX block that may have an expert twin for the reference stream."""

    stock_block = CogVideoXBlock
    joint_processor = CogVideoXJointAttnProcessor
    expert_parts = ("norm1", "attn1", "norm2", "ff")

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        temb: torch.Tensor,
        image_rotary_emb: RotaryTable | None,
        attention_kwargs: dict[str, Any] | None,
        reference_hidden_states: torch.Tensor,
        reference_encoder_hidden_states: torch.Tensor,
        reference_temb: torch.Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Advance both streams by one block.

        Target: video ``[B, N, D]``, text ``[B, L, D]``, time ``[B, D_time]``, tables ``[N, d]``.
        The references lie side by side, ``[B, R·N, D]`` and so on; batch zero for none.
        """
        reference = reference_hidden_states, reference_encoder_hidden_states
        how = dict(attention_kwargs or {})
        if self.has_expert:
            how["reference_strength"] = reference_strength
        if not self.has_expert or not len(reference_hidden_states):
            target = super().forward(
                hidden_states, encoder_hidden_states, temb, image_rotary_emb, how
            )
            return *target, *reference

        video, text, *gates = self.norm1(hidden_states, encoder_hidden_states, temb)
        reference_video, reference_text, *reference_gates = self.norm1_mot_ref(
            *reference, reference_temb
        )
        attended = self.attn1(
            hidden_states=video,
            encoder_hidden_states=text,
            image_rotary_emb=image_rotary_emb,
            reference_hidden_states=reference_video,
            reference_encoder_hidden_states=reference_text,
            reference_rotary_emb=reference_rotary_emb,
            reference_output=not self.is_last_expert,
            **how,
        )
        target = _gated((hidden_states, encoder_hidden_states), attended[:2], gates)
        target = _feed_forward(self.norm2, self.ff, *target, temb)
        if not self.is_last_expert:
            reference = _gated(reference, attended[2:], reference_gates)
            reference = _feed_forward(
                self.norm2_mot_ref, self.ff_mot_ref, *reference, reference_temb
            )
        return *target, *reference


def _project(
    attn: Attention, text: torch.Tensor, video: torch.Tensor, rotary: RotaryTable | None
) -> Projections:
    """Queries, keys and values ``[B, L + N, heads, d]`` of one stream, text first."""
    tokens = torch.cat([text, video], dim=1)
    if attn.fused_projections:
        projected = attn.to_qkv(tokens).chunk(3, dim=-1)
    else:
        projected = attn.to_q(tokens), attn.to_k(tokens), attn.to_v(tokens)
    query, key, value = (part.unflatten(2, (attn.heads, -1)) for part in projected)
    query = _rotate_video(attn.norm_q(query), rotary, text.shape[1]).type_as(value)
    key = _rotate_video(attn.norm_k(key), rotary, text.shape[1]).type_as(value)
    return Projections(query, key, value)


def _rotate_video(
    tokens: torch.Tensor, rotary: RotaryTable | None, text_tokens: int
) -> torch.Tensor:
    """Turn the video tokens, which follow the text; text has no position."""
    if rotary is None:
        return tokens
    text, video = tokens[:, :text_tokens], tokens[:, text_tokens:]
    return torch.cat([text, apply_rotary_emb(video, rotary, sequence_dim=1)], dim=1)


def _output(
    attn: Attention, attended: torch.Tensor, text_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output projection of ``[B, L + N, heads, d]``, split into video and text."""
    projected = attn.to_out[0](attended.flatten(2, 3))
    projected = attn.to_out[1](projected)
    return projected[:, text_tokens:], projected[:, :text_tokens]


def _gated(
    streams: tuple[torch.Tensor, torch.Tensor], updates: Any, gates: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Add gated updates to video and text."""
    (video, text), (video_update, text_update), (video_gate, text_gate) = streams, updates, gates
    return video + video_gate * video_update, text + text_gate * text_update


def _feed_forward(
    norm: nn.Module,
    feed_forward: nn.Module,
    video: torch.Tensor,
    text: torch.Tensor,
    temb: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a stream does on its own after self-attention, over its text and video together."""
    text_tokens = text.shape[1]
    normalized_video, normalized_text, *gates = norm(video, text, temb)
    output = feed_forward(torch.cat([normalized_text, normalized_video], dim=1))
    return _gated((video, text), (output[:, text_tokens:], output[:, :text_tokens]), gates)


TransformerBlockRegistry.register(
    CogVideoXVideoAsPromptBlock,
    # The block caches carry two streams. The target's video and text are the ones they need:
    # once they skip a block they skip all later ones, so nothing reads the references again.
    TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=1),
)
