"""The expert as a part of its own: add, initialize, freeze, save, load and swap it.

An expert parameter is named like its backbone twin, with ``_mot_ref`` after one part of the name.
"""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import nn

from vap.models.attention import EXPERT_SUFFIX, Coupling, check_joint
from vap.models.expert_file import read_expert, read_expert_info, write_expert
from vap.models.rope import ReferencePositions, check_reference_positions
from vap.models.stored_form import StoredFormMixin, check_form


def is_expert_name(name: str) -> bool:
    """Whether a parameter name belongs to the expert."""
    return EXPERT_SUFFIX in name


def backbone_twin(name: str) -> str:
    """Name of the backbone tensor that an expert tensor was initialized from."""
    return name.replace(EXPERT_SUFFIX, "", 1)


def takes_arguments_of(stock: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a constructor the arguments of a stock class before its own, with their defaults."""
    theirs = [*inspect.signature(stock.__init__).parameters.values()]  # type: ignore[misc]

    def decorate(init: Callable[..., None]) -> Callable[..., None]:
        own = [*inspect.signature(init).parameters.values()][1:-1]
        signature = inspect.Signature([*theirs, *own])

        @functools.wraps(init)
        def construct(*args: Any, **options: Any) -> None:
            given = signature.bind(*args, **options)
            given.apply_defaults()
            init(**given.arguments)

        construct.__signature__ = signature  # type: ignore[attr-defined]
        return construct

    return decorate


class ExpertMixin(StoredFormMixin):
    """What both variants' transformers share: adding, loading and removing an expert.

    A subclass names its blocks and the embeddings that have a twin, and makes those twins.
    """

    _blocks_name: ClassVar[str]
    _expert_modules: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        stock: dict[str, Any],
        depths: Sequence[int] | None,
        reference_positions: ReferencePositions,
        **released_options: Any,
    ) -> None:
        for key, value in released_options.items():
            if value:
                raise ValueError(
                    f"{key}={value!r} is not supported: it is unset in every released checkpoint. "
                    f"Remove it from transformer/config.json or set it to null."
                )
        check_reference_positions(reference_positions)
        # No stock blocks: at full size, making them only to replace them takes minutes.
        super().__init__(**{**stock, "num_layers": 0})
        # The parent registered its own arguments only; this registers them with ours.
        self.register_to_config(  # type: ignore[attr-defined]
            **stock,
            **released_options,
            block_idx_with_mot_ref=None,
            reference_positions=reference_positions,
        )
        blocks = nn.ModuleList(self._new_block() for _ in range(stock["num_layers"]))
        setattr(self, self._blocks_name, blocks)
        if depths:
            self.add_expert(depths)

    @classmethod
    def from_backbone(
        cls,
        backbone: str | Path,
        *,
        expert: str | Path | None = None,
        depths: Sequence[int] | None = None,
        reference_positions: ReferencePositions = "before",
        subfolder: str | None = "transformer",
        **options: Any,
    ) -> Self:
        """Load a stock image-to-video transformer and give it an expert.

        Args:
            backbone: Pipeline folder or Hub id of the stock model.
            expert: An expert file; without one, a new expert starts as a copy of the backbone.
            depths: Blocks of a new expert; the released choice by default.
            reference_positions: Placement of references that a new expert will be trained with.
            subfolder: Where the transformer is in the folder.
            **options: Passed to ``from_pretrained``, for example ``dtype``.

        Raises:
            FileNotFoundError: If there is no such expert file.
            ValueError: If the backbone is not whole, the expert does not fit, or depths are given
                for an expert file.
        """
        if expert is not None and depths is not None:
            raise ValueError(
                "An expert file contains its depths. Give either expert or depths, not both."
            )
        check_reference_positions(reference_positions)
        model, found = cls.from_pretrained(  # type: ignore[attr-defined]
            backbone, subfolder=subfolder, output_loading_info=True, **options
        )
        for name in sorted({*found["missing_keys"], *found["unexpected_keys"]}):
            lacks = "lacks" if name in found["missing_keys"] else "has no place for"
            raise ValueError(
                f"{backbone} is not a complete stock model: it {lacks} the tensor {name}."
            )
        if expert is not None:
            return model.load_expert(expert)
        # Made without weights: those of the backbone follow, in its precision and place.
        with torch.device("meta"):
            model.add_expert(depths)
        model.register_to_config(reference_positions=reference_positions)
        return model.initialize_expert()

    @property
    def expert_depths(self) -> tuple[int, ...]:
        """Depths that have an expert block; empty without an expert."""
        return tuple(self.config.block_idx_with_mot_ref or ())  # type: ignore[attr-defined]

    @property
    def coupling(self) -> Coupling:
        """How target and references meet; ``joint`` without an expert."""
        coupled = (self.expert_blocks[depth].attn1.processor for depth in self.expert_depths)
        return next((processor.coupling for processor in coupled), "joint")

    @property
    def expert_blocks(self) -> Sequence[Any]:
        """The backbone's blocks, coupled or not."""
        return getattr(self, self._blocks_name)

    def require_expert(self) -> None:
        """Refuse to read a reference without an expert."""
        if not self.expert_depths:
            raise ValueError(
                "This model has no expert, so it cannot read a reference video. Load one with "
                "load_expert(path), or add an untrained one with add_expert(depths)."
            )

    def add_expert(self, depths: Sequence[int] | None = None) -> Self:
        """Add freshly initialized expert modules, at the released depths by default."""
        if self.expert_depths:
            raise ValueError("This model already has an expert. Call remove_expert() first.")
        chosen = self._usable_depths(
            self.default_expert_depths(len(self.expert_blocks)) if depths is None else depths
        )
        for name in self._expert_modules:
            setattr(self, name + EXPERT_SUFFIX, self._new_expert_module(name))
        for depth in chosen:
            self.expert_blocks[depth].add_expert()
        self.expert_blocks[chosen[-1]].is_last_expert = True
        for name, module in self.named_modules():  # type: ignore[attr-defined]
            if is_expert_name(name):
                module.training = self.training  # type: ignore[attr-defined]
        self.register_to_config(block_idx_with_mot_ref=chosen)  # type: ignore[attr-defined]
        return self

    def remove_expert(self) -> Self:
        """Remove the expert, whatever its coupling, and leave the stock backbone."""
        for name in self._expert_modules:
            if self.expert_depths:
                delattr(self, name + EXPERT_SUFFIX)
        for block in self.expert_blocks:
            block.remove_expert()
        self.register_to_config(block_idx_with_mot_ref=None)  # type: ignore[attr-defined]
        return self

    def initialize_expert(self) -> Self:
        """Copy every expert tensor from its backbone twin, as training starts (section 3.2)."""
        state = self.state_dict()  # type: ignore[attr-defined]
        copies = {}
        for name in filter(is_expert_name, state):
            twin = state.get(backbone_twin(name))
            if twin is None or twin.shape != state[name].shape:
                raise ValueError(
                    f"{name} cannot be copied from the backbone: {backbone_twin(name)} is missing "
                    "or quantized. Initialize from an unquantized backbone, or load an expert file."
                )
            copies[name] = twin.detach().clone()
        self.load_state_dict(copies, strict=False, assign=True)  # type: ignore[attr-defined]
        self._copy_fixed_tables()
        return self

    def freeze_backbone(self) -> Self:
        """Let gradients reach expert parameters only."""
        for name, parameter in self.named_parameters():  # type: ignore[attr-defined]
            parameter.requires_grad_(is_expert_name(name))
        return self

    def expert_state_dict(self) -> dict[str, torch.Tensor]:
        """Expert tensors only, under their full names."""
        self.require_expert()
        state = self.state_dict()  # type: ignore[attr-defined]
        return {name: tensor for name, tensor in state.items() if is_expert_name(name)}

    def save_expert(self, path: str | Path, *, description: str = "") -> Path:
        """Write the expert alone as one safetensors file, atomically.

        Args:
            path: File to write; the folder must exist.
            description: Free text for the header, such as what it was trained on.

        Raises:
            ValueError: If there is no expert, or the file would load as a different expert.
        """
        check_joint(self.coupling, "saved as a file")
        state = self.expert_state_dict()
        check_form(state, self._expert_shapes(self.expert_depths), "This expert")
        return write_expert(
            path,
            state,
            transformer=type(self).__name__,
            depths=self.expert_depths,
            reference_positions=self.config.reference_positions,  # type: ignore[attr-defined]
            description=description,
        )

    def load_expert(self, path: str | Path) -> Self:
        """Replace the expert with one from a file; the backbone stays loaded.

        The model then uses joint attention, whatever its coupling was before.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is not an expert or does not fit this model, or if the model
                uses sequential offload.
        """
        info = read_expert_info(path)
        if info.transformer != type(self).__name__:
            raise ValueError(
                f"{path} is an expert for {info.transformer}, not for {type(self).__name__}."
            )
        try:
            expected = self._expert_shapes(info.depths)
        except ValueError as error:
            raise ValueError(f"{path} does not fit this backbone. {error}") from error
        info.check_shapes(expected)
        self.install_expert(
            read_expert(path), depths=info.depths, reference_positions=info.reference_positions
        )
        return self

    def install_expert(
        self, state: dict[str, torch.Tensor], *, depths: Sequence[int], reference_positions: str
    ) -> Self:
        """Put expert tensors, under their full names, in place of the present expert."""
        device, dtype = self.device, self.dtype  # type: ignore[attr-defined]
        if device.type == "meta":
            raise ValueError(
                "An expert cannot be loaded into a model with sequential offload. Load the model "
                "with expert=… instead."
            )
        self.remove_expert()
        with torch.device("meta"):
            self.add_expert(depths)
        keep = tuple(getattr(self, "_keep_in_fp32_modules", None) or ())
        # Copies: a tensor mapped from a file has neither torch's alignment nor a life of its own.
        placed = {
            name: tensor.to(device, load_dtype(name, tensor, dtype, keep), copy=True)
            for name, tensor in state.items()
        }
        missing = self.load_state_dict(placed, strict=False, assign=True)  # type: ignore[attr-defined]
        assert not any(is_expert_name(name) for name in missing.missing_keys)
        self._copy_fixed_tables()
        self.register_to_config(reference_positions=reference_positions)  # type: ignore[attr-defined]
        return self

    def move_expert(self, depths: Sequence[int]) -> Self:
        """Put the expert's blocks, in their order, beside as many other blocks of the backbone."""
        self.require_expert()
        check_joint(self.coupling, "moved")
        before, after = self.expert_depths, self._usable_depths(depths)
        if len(before) != len(after):
            raise ValueError(
                f"The expert has {len(before)} blocks, and {len(after)} depths were given: "
                f"{after}. Give {len(before)} depths."
            )
        if list(before) == after:
            return self
        places = dict(zip(before, after, strict=True))
        state = {
            name_at_depth(name, places, self._blocks_name): tensor
            for name, tensor in self.expert_state_dict().items()
        }
        positions = self.config.reference_positions  # type: ignore[attr-defined]
        return self.install_expert(state, depths=after, reference_positions=positions)

    def extend_expert(self, depths: Sequence[int]) -> Self:
        """Give the expert further blocks, copies of the backbone's; ``depths`` names all."""
        self.require_expert()
        check_joint(self.coupling, "extended")
        after = self._usable_depths(depths)
        if not set(self.expert_depths) <= set(after):
            raise ValueError(
                f"The expert has blocks at depths {list(self.expert_depths)}, and {after} lacks "
                "some of them. List these depths too."
            )
        trained = self.expert_state_dict()
        self.remove_expert()
        with torch.device("meta"):
            self.add_expert(after)
        self.initialize_expert()
        self.load_state_dict(trained, strict=False)  # type: ignore[attr-defined]
        return self

    @abstractmethod
    def default_expert_depths(self, num_layers: int) -> tuple[int, ...]:
        """Depths of the released expert of this variant."""

    @abstractmethod
    def _new_block(self) -> nn.Module:
        """A block of the backbone, which may get an expert."""

    @abstractmethod
    def _new_expert_module(self, name: str) -> nn.Module:
        """A fresh expert twin of one of the backbone's embeddings."""

    def _usable_depths(self, depths: Sequence[int]) -> list[int]:
        """Depths in their order, refused if there are none, some twice or some out of range."""
        count, chosen = len(self.expert_blocks), sorted(depths)
        if not chosen or chosen != sorted(set(chosen)) or not 0 <= chosen[0] <= chosen[-1] < count:
            raise ValueError(
                f"Expert depths {list(depths)} are not usable: give distinct block indices "
                f"between 0 and {count - 1}."
            )
        return chosen

    def _copy_fixed_tables(self) -> None:
        """Give expert modules made without weights the tables that no file contains (positions)."""
        for name in self._expert_modules:
            twin = getattr(self, name)
            for table, values in twin.named_buffers():
                if getattr(self, name + EXPERT_SUFFIX).get_buffer(table).is_meta:
                    owner, _, leaf = table.rpartition(".")
                    module = getattr(self, name + EXPERT_SUFFIX).get_submodule(owner)
                    setattr(module, leaf, values.detach().clone())

    def _expert_shapes(self, depths: Sequence[int]) -> dict[str, torch.Size]:
        """Names and shapes of an expert at these depths."""
        shapes = self._stored_shapes(block_idx_with_mot_ref=list(depths))
        return {name: shape for name, shape in shapes.items() if is_expert_name(name)}


def name_at_depth(name: str, places: Mapping[int, int], blocks: str) -> str:
    """The name of an expert tensor after its block has moved; ``places`` are new depths by old."""
    prefix, _, rest = name.partition(".")
    if prefix != blocks:
        return name
    depth, _, rest = rest.partition(".")
    return f"{blocks}.{places[int(depth)]}.{rest}"


def load_dtype(
    name: str, tensor: torch.Tensor, dtype: torch.dtype, keep: tuple[str, ...]
) -> torch.dtype:
    """The precision that diffusers' loader would give this tensor."""
    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float32 if any(part in keep for part in name.split(".")) else dtype
