"""Other couplings of the two streams: one-way attention, and addition without attention.

Both keep the expert's modules and names; only how the streams meet differs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.files.components import check_stored
from vap.files.reading import reading
from vap.files.weights import read_headers, save_tensors
from vap.models.attention import Coupling
from vap.models.cogvideox_block import CogVideoXJointAttnProcessor
from vap.models.expert import is_expert_name
from vap.models.rope import RotaryTable
from vap.models.wan_block import WanJointAttnProcessor
from vap.training.methods.expert_method import ensure_expert
from vap.training.parallel import is_writer, whole_state
from vap.training.tuning_config import Method, ModelConfig

_FILE = "alternative.safetensors"
_FORMAT = "vap-alternative"


class _SeparateAttention:
    """The references attend to themselves alone; the target to itself and, one way, to them."""

    def __init__(self, *, target_reads: bool) -> None:
        super().__init__()
        self.target_reads = target_reads
        self.coupling: Coupling = "one-way" if target_reads else "addition"

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: RotaryTable | None = None,
        image_rotary_emb: RotaryTable | None = None,
        reference_hidden_states: Tensor | None = None,
        reference_encoder_hidden_states: Tensor | None = None,
        reference_rotary_emb: RotaryTable | None = None,
        reference_strength: float = 1.0,
        reference_output: bool = True,
    ) -> Any:
        """Attend; arguments and results are those of the joint processors."""
        joint: Any = super().__call__  # type: ignore[misc]  # of the class that this is mixed into
        is_wan = encoder_hidden_states is None  # CogVideoX's text comes beside its video
        rotary = "rotary_emb" if is_wan else "image_rotary_emb"
        references: dict[str, Any] = {}
        if self.target_reads and reference_hidden_states is not None:
            references = {
                "reference_hidden_states": reference_hidden_states,
                "reference_rotary_emb": reference_rotary_emb,
                "reference_strength": reference_strength,
                "reference_output": False,
            }
            if not is_wan:
                references["reference_encoder_hidden_states"] = reference_encoder_hidden_states
        references[rotary] = rotary_emb if is_wan else image_rotary_emb
        target = joint(attn, hidden_states, encoder_hidden_states, attention_mask, **references)
        if reference_hidden_states is None or not reference_output:
            return target
        (expert,) = attn.expert
        own = reference_hidden_states, reference_encoder_hidden_states
        reference = joint(expert, *own, **{rotary: reference_rotary_emb})
        return (target, reference) if is_wan else (*target, *reference)


class _WanSeparateProcessor(_SeparateAttention, WanJointAttnProcessor):  # type: ignore[misc]
    pass


class _CogVideoXSeparateProcessor(_SeparateAttention, CogVideoXJointAttnProcessor):  # type: ignore[misc]
    pass


class CouplingStrategy:
    """Train an expert that meets the target in another way than the paper's.

    Args:
        method: ``cross-attention``: the reference is encoded without seeing the target, which
            keeps one softmax over its own tokens and the reference's, so that nothing but the
            direction differs from the paper's method. ``residual``: the reference stream is added
            to the target stream, the mean over several references. As in a ControlNet, each
            addition passes a linear layer that starts at zero.
    """

    reads_references = True

    def __init__(self, method: Literal["cross-attention", "residual"]) -> None:
        self.method: Method = method

    def prepare(self, model: Any, config: ModelConfig) -> None:
        """Couple the expert, and train it with what couples it."""
        ensure_expert(model, config)
        _COUPLED[self.method](model)
        model.freeze_backbone()

    def save(self, model: Any, output: Path) -> None:
        """Write ``output/alternative.safetensors``."""
        state = whole_state(model, is_expert_name)
        header = {
            "method": self.method,
            "depths": list(model.expert_depths),
            "reference_positions": model.config.reference_positions,
        }
        if is_writer():
            save_tensors(state, output / _FILE, {_FORMAT: json.dumps(header)})


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


_COUPLED = {"cross-attention": couple_one_way, "residual": couple_by_addition}


def load_alternative(model: Any, path: Path) -> Method:
    """Give a model what :class:`CouplingStrategy` wrote."""
    with reading(path):
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(_FORMAT, "null"))
        if header is None:
            raise ValueError(
                f"{path} is not an alternative.safetensors from training. Load experts with "
                "load_expert."
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


def _separate(model: Any, *, target_reads: bool) -> None:
    for depth in model.expert_depths:
        attention = model.expert_blocks[depth].attn1
        is_wan = isinstance(attention.processor, WanJointAttnProcessor)
        kind = _WanSeparateProcessor if is_wan else _CogVideoXSeparateProcessor
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
