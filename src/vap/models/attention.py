"""Joint self-attention of target and references (paper section 3.2), and the blocks with it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import nn
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from vap.models.reference_cache import BlockMemory

EXPERT_SUFFIX = "_mot_ref"

Coupling: TypeAlias = Literal["joint", "one-way", "addition"]
"""How the streams meet: both in one attention, as in the paper; the target attends to a reference
that does not see it; or the reference stream is added without attention."""

AttentionKernel: TypeAlias = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Projections:
    """Query, key and value of one stream, each ``[B, N, heads, d]``, in one precision."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor

    def without_queries(self) -> Projections:
        """The same keys and values, for no token to ask: ``query`` is ``[B, 0, heads, d]``."""
        return Projections(self.query[:, :0].clone(), self.key, self.value)


class SharedAttention(ABC):
    """Attention over tokens that are spread over processes; given in place of a parallel_config."""

    @abstractmethod
    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: Any
    ) -> torch.Tensor:
        """Attention of this process's queries to the tokens of all: each ``[B, N, heads, d]``."""


def attention_kernel(backend: Any, parallel_config: Any = None) -> AttentionKernel:
    """Full, unmasked attention of ``[B, N, heads, d]`` to keys and values ``[B, M, heads, d]``."""
    if isinstance(parallel_config, SharedAttention):
        return partial(parallel_config.attend, backend=backend)
    if callable(backend):
        if parallel_config is None:
            return backend
        backend = None  # tokens spread over processes need a kernel that knows of them
    return partial(dispatch_attention_fn, backend=backend, parallel_config=parallel_config)


def joint_attention(
    streams: list[Projections],
    *,
    strength: float = 1.0,
    reference_output: bool = True,
    backend: Any = None,
    parallel_config: Any = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """One full, unmasked attention over both streams' tokens, target first, then split again.

    With ``strength`` s below one the target's output is s times this attention plus (1 − s) times
    the attention over its own tokens, as in the backbone: no mask rules out fast kernels. Empties
    ``streams``; returns ``[B, N, heads, d]`` of the target, and of the references or None.
    """
    target, *references = streams
    streams.clear()
    attend = attention_kernel(backend, parallel_config)
    if not references:
        return attend(target.query, target.key, target.value), None
    alone = attend(target.query, target.key, target.value) if strength < 1.0 else None
    tokens = target.query.shape[1]
    reference = references.pop()
    # Diffusers' Ulysses exchanges heads for tokens assuming as many queries as keys.
    all_queries = reference_output or not (
        parallel_config is None or isinstance(parallel_config, SharedAttention)
    )
    queries = [target.query, reference.query] if all_queries else [target.query]
    keys, values = [target.key, reference.key], [target.value, reference.value]
    del target, reference
    heads_first = getattr(backend, "heads_first", False)
    whole = (_joined(parts, heads_first=heads_first) for parts in (queries, keys, values))
    output = attend(*whole)
    target_output = output[:, :tokens]
    if alone is not None:
        target_output = torch.lerp(alone, target_output, strength)
    return target_output, output[:, tokens:] if reference_output else None


def _joined(parts: list[torch.Tensor], *, heads_first: bool) -> torch.Tensor:
    """Concatenate and empty the list; ``heads_first`` spares a kernel its own copy."""
    if heads_first:
        whole = torch.cat([part.transpose(1, 2) for part in parts], dim=2).transpose(1, 2)
    else:
        whole = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    parts.clear()
    return whole


class JointAttnProcessor:
    """What the joint attention of both variants shares."""

    coupling: Coupling = "joint"
    memory: BlockMemory | None = None

    _attention_backend: Any = None
    _parallel_config: Any = None

    def _attend(
        self,
        streams: list[Projections],
        project_reference: Callable[[], Projections] | None,
        *,
        strength: float,
        reference_output: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Attend with the references that were kept, or project and perhaps keep them."""
        kept = self.memory
        if kept is not None and kept.reads and kept.reference is not None:
            streams.append(kept.reference)
        elif project_reference is not None:
            streams.append(project_reference())
            if kept is not None:
                kept.keep(streams[-1])
        return joint_attention(
            streams,
            strength=strength,
            reference_output=reference_output and project_reference is not None,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )


def require_for_each_reference(
    name: str, tokens: torch.Tensor | None, references: torch.Size, what: str
) -> torch.Tensor:
    """Require one set of tokens ``[B, R, …]`` for each of the ``[B, R]`` references."""
    if tokens is None or tokens.shape[:2] != references:
        given = "missing" if tokens is None else f"of shape {list(tokens.shape)}"
        raise ValueError(
            f"{name} is {given}: each reference needs its {what} with B, R = {list(references)}."
        )
    return tokens


class CoupledBlock:
    """Mixed into a stock block: adding and removing an expert.

    Target and references meet in self-attention only. Everything else each stream does with its
    own weights and its own conditions. Constructor arguments are those of the stock block.
    """

    stock_block: ClassVar[type[nn.Module]]
    joint_processor: ClassVar[type]
    expert_parts: ClassVar[tuple[str, ...]]
    # Adds the reference stream to the target's, where the streams are coupled by addition.
    addition: RemovableHandle | None = None

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self._design = sizes, options
        self.attn1: Any
        self.attn1.set_processor(self.joint_processor())
        self.has_expert = self.is_last_expert = False

    def add_expert(self) -> None:
        """Add the expert: the modules of a second stock block, freshly initialized."""
        sizes, options = self._design
        twin = self.stock_block(*sizes, **options)
        for name in self.expert_parts:
            setattr(self, name + EXPERT_SUFFIX, getattr(twin, name))
        # A tuple keeps the peer out of attn1's own modules, hence out of the state dict.
        self.attn1.expert = (twin.attn1,)
        self.has_expert = True

    def remove_expert(self) -> None:
        """Take the expert out again, however it is coupled."""
        if self.has_expert:
            for name in self.expert_parts:
                delattr(self, name + EXPERT_SUFFIX)
            del self.attn1.expert
        self.has_expert = self.is_last_expert = False
        before = self.attn1.processor
        if before.coupling == "joint":
            return
        joint = self.joint_processor()
        joint._attention_backend = before._attention_backend
        joint._parallel_config = before._parallel_config
        self.attn1.set_processor(joint)
        if self.addition is not None:
            self.addition.remove()
            del self.residual_mot_ref  # type: ignore[attr-defined]
            self.addition = None


def check_joint(coupling: Coupling, done: str) -> None:
    """Refuse what is only done to an expert in joint attention."""
    if coupling != "joint":
        raise ValueError(
            f"An expert whose coupling is {coupling!r} cannot be {done}: checkpoints and expert "
            "files are always loaded with joint attention. Keep the alternative.safetensors of "
            "its training, and load it with load_alternative."
        )
