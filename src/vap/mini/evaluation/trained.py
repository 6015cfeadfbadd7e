"""Systems with weights of their own, read from the folders that training wrote.

Under one folder, one subfolder a system, holding what the method's strategy saves:

=====================  ===========================================================================
``single_branch``      ``transformer/``, or LoRA on it: ``pytorch_lora_weights.safetensors``
``unidirectional``     ``alternative.safetensors``
``residual``           ``alternative.safetensors``
``shared_positions``   ``expert.safetensors``, or ``transformer/``
``lora``               a folder a condition, each with ``pytorch_lora_weights.safetensors``
=====================  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from vap.evaluation.systems.local import file_digest
from vap.evaluation.systems.pipelines import VideoAsPrompt
from vap.files.weights import LORA_FILE

KINDS = {"mini-trained": f"{__name__}:Trained"}
"""Kinds of systems that only the bundled model has, for the registry."""

_EXPERT, _ALTERNATIVE = "expert.safetensors", "alternative.safetensors"


class Trained(VideoAsPrompt):
    """Another way to read a reference, trained from the backbone of the model.

    Attributes:
        weights: Folder that training wrote.
    """

    kind: ClassVar[str] = "mini-trained"

    weights: Path

    def identity(self) -> Mapping[str, Any]:
        """Return also the hashes of the weights."""
        files = sorted(self.weights.rglob("*.safetensors"))
        hashes = {path.relative_to(self.weights).as_posix(): file_digest(path) for path in files}
        return {**super().identity(), "trained": hashes}

    def weights_key(self) -> str:
        """Return the model's key and the folder."""
        return f"{super().weights_key()} {self.weights}"

    def load(self) -> Any:
        """Load the model, and put the trained weights into its transformer."""
        import torch

        from vap.evaluation.systems.one_reference_each import OneReferenceEach
        from vap.loading.pipeline import load_transformer

        transformer = load_transformer(self.request.model, dtype=torch.float32)
        return OneReferenceEach.of(super().load(), with_weights(transformer, self.weights))


def with_weights(transformer: Any, folder: Path) -> Any:
    """Return the transformer that a method trained, from whichever file the method writes."""
    import torch

    from vap.files.components import load_component
    from vap.training.methods.single_branch import tie_branches
    from vap.training.methods.streams import load_alternative
    from vap.training.tuning_config import ModelConfig

    if (folder / "transformer").is_dir():
        return load_component(folder, "transformer", type(transformer), dtype=torch.float32)
    if (folder / _EXPERT).is_file():
        return transformer.load_expert(folder / _EXPERT)
    if (folder / _ALTERNATIVE).is_file():
        load_alternative(transformer, folder / _ALTERNATIVE)
        return transformer
    if (folder / LORA_FILE).is_file():
        tie_branches(transformer, ModelConfig(start=""))
        transformer.load_lora_adapter(folder / LORA_FILE, prefix="transformer")
        return transformer
    raise FileNotFoundError(
        f"{folder} holds no weights: there should be transformer/, {_EXPERT}, {_ALTERNATIVE} or "
        f"{LORA_FILE}, as training writes them."
    )
