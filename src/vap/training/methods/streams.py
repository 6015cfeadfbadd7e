"""Other couplings of the two streams: one-way attention, and addition without attention.

Both keep the expert's modules and names; only how the streams meet differs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.files.components import check_stored
from vap.files.reading import reading
from vap.files.weights import read_headers, save_tensors
from vap.models.cogvideox_block import CogVideoXJointAttnProcessor
from vap.models.expert import is_expert_name
from vap.models.rope import RotaryTable
from vap.models.wan_attention import WanJointAttnProcessor
from vap.training.methods.expert_method import ensure_expert
from vap.training.methods.whole import is_writer, whole_state
from vap.training.tuning_config import Method, ModelConfig

_FILE = "alternative.safetensors"
_FORMAT = "vap-alternative"


class WanSeparateProcessor(WanJointAttnProcessor):
    """The reference attends to itself alone; the target to itself and, one way, to it."""

    def __init__(self, *, target_reads: bool) -> None:
        super().__init__()
        self.target_reads = target_reads
        self.coupling = "one-way" if target_reads else "addition"

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: RotaryTable | None = None,
        reference_hidden_states: Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
        reference_output: bool = True,
    ) -> Any:
        """Attend; arguments and results are those of the joint processor."""
        references: dict[str, Any] = {}
        if self.target_reads and reference_hidden_states is not None:
            references = {
                "reference_hidden_states": reference_hidden_states,
                "reference_rotary_emb": reference_rotary_emb,
                "reference_strength": reference_strength,
                "reference_output": False,
            }
        target = super().__call__(
            attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb, **references
        )
        if reference_hidden_states is None or not reference_output:
            return target
        assert reference_rotary_emb is not None
        (expert,) = attn.expert
        cosines, sines = (
            table.repeat(len(hidden_states), 1, 1, 1) for table in reference_rotary_emb
        )
        return target, super().__call__(
            expert, reference_hidden_states, None, None, (cosines, sines)
        )


class CogVideoXSeparateProcessor(CogVideoXJointAttnProcessor):
    """The references attend to themselves alone; the target to itself and, one way, to them."""

    def __init__(self, *, target_reads: bool) -> None:
        super().__init__()
        self.target_reads = target_reads
        self.coupling = "one-way" if target_reads else "addition"

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: RotaryTable | None = None,
        reference_hidden_states: Tensor | None = None,
        reference_encoder_hidden_states: Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
        reference_output: bool = True,
    ) -> tuple[Tensor, ...]:
        """Attend; arguments and results are those of the joint processor."""
        references: dict[str, Any] = {}
        if self.target_reads and reference_hidden_states is not None:
            references = {
                "reference_hidden_states": reference_hidden_states,
                "reference_encoder_hidden_states": reference_encoder_hidden_states,
                "reference_rotary_emb": reference_rotary_emb,
                "reference_strength": reference_strength,
                "reference_output": False,
            }
        target = super().__call__(
            attn,
            hidden_states,
            encoder_hidden_states,
            attention_mask,
            image_rotary_emb,
            **references,
        )
        if reference_hidden_states is None or not reference_output:
            return target
        assert reference_encoder_hidden_states is not None
        (expert,) = attn.expert
        return *target, *super().__call__(
            expert,
            reference_hidden_states,
            reference_encoder_hidden_states,
            None,
            reference_rotary_emb,
        )


class OneWayStrategy:
    """Unidirectional cross-attention: the reference is encoded without seeing the target.

    The target keeps one softmax over its own tokens and the reference's, so that nothing but the
    direction differs from the paper's method.
    """

    reads_references = True

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Install one-way attention and train the expert."""
        ensure_expert(model, config)
        couple_one_way(model)
        model.freeze_backbone()

    def save(self, model: Any, output: Path) -> None:
        """Write ``output/alternative.safetensors``."""
        _save(model, output, "cross-attention")


class ResidualStrategy:
    """Residual addition: the reference stream runs beside and is added to the target stream.

    As in a ControlNet, each addition passes a linear layer that starts at zero, so that training
    starts from the backbone. Several references are averaged.
    """

    reads_references = True

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Install the additions and train the expert and them."""
        ensure_expert(model, config)
        couple_by_addition(model)
        model.freeze_backbone()

    def save(self, model: Any, output: Path) -> None:
        """Write ``output/alternative.safetensors``."""
        _save(model, output, "residual")


def couple_one_way(model: Any) -> None:
    """Let the target read the reference, and the reference only itself."""
    _separate(model, target_reads=True)


def couple_by_addition(model: Any) -> None:
    """Add the reference stream to the target's after every block that has an expert."""
    _separate(model, target_reads=False)
    config = model.config
    width = config.num_attention_heads * config.attention_head_dim
    for depth in model.expert_depths:
        block = model.expert_blocks[depth]
        twin = block.attn1.to_out[0].weight
        block.residual_mot_ref = nn.Linear(width, width, device=twin.device, dtype=twin.dtype)
        nn.init.zeros_(block.residual_mot_ref.weight)
        nn.init.zeros_(block.residual_mot_ref.bias)
        block.is_last_expert = False  # here the last block's reference stream is read as well
        block.addition = block.register_forward_hook(_add_reference)


def load_alternative(model: Any, path: Path) -> Method:
    """Give a model what :class:`OneWayStrategy` or :class:`ResidualStrategy` wrote."""
    with reading(path):
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_FORMAT, "null"))
        if header is None:
            raise ValueError(
                f"{path} is no alternative written by training. Load experts by load_expert."
            )
        method: Method = header["method"]
        model.remove_expert()
        model.add_expert(header["depths"])
        model.register_to_config(reference_positions=header["reference_positions"])
        _COUPLED[method](model)
        described = {n: t for n, t in model.state_dict().items() if is_expert_name(n)}
        check_stored(path, read_headers([path]), described)
        model.load_state_dict(load_file(path), strict=False)
    return method


_COUPLED = {"cross-attention": couple_one_way, "residual": couple_by_addition}


def _separate(model: Any, *, target_reads: bool) -> None:
    for depth in model.expert_depths:
        attention = model.expert_blocks[depth].attn1
        joint = isinstance(attention.processor, WanJointAttnProcessor)
        kind = WanSeparateProcessor if joint else CogVideoXSeparateProcessor
        attention.set_processor(kind(target_reads=target_reads))


@torch.compiler.disable
def _add_reference(block: Any, _inputs: Any, outputs: tuple[Tensor, ...]) -> Any:
    """Add the mean over references of their video tokens, projected, to the target's."""
    if len(outputs) == 2:  # noqa: PLR2004 - Wan: target, references [B·R, N, D]
        target, reference = outputs
        rest: tuple[Tensor, ...] = (reference,)
    else:  # CogVideoX: target and its text, references [B, R·N, D] and theirs
        target, text, reference, reference_text = outputs
        rest = text, reference, reference_text
    if not len(reference):
        return outputs
    mean = reference.reshape(len(target), -1, *target.shape[1:]).mean(dim=1)
    return target + block.residual_mot_ref(mean), *rest


def _save(model: Any, output: Path, method: Method) -> None:
    state = whole_state(model, is_expert_name)
    header = {
        "method": method,
        "depths": list(model.expert_depths),
        "reference_positions": model.config.reference_positions,
    }
    if is_writer():
        save_tensors(state, output / _FILE, {_FORMAT: json.dumps(header)})
