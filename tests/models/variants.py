"""Both variants' golden transformers under one set of names."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cogvideox_tiny
import diffusers
import torch
import wan_tiny

from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel
from vap.models.wan import WanVideoAsPromptTransformer3DModel


@dataclass(frozen=True)
class Variant:
    name: str
    model_class: type
    stock_class: type
    default_depths: tuple[int, ...]
    last_target_weight: str

    @property
    def folder(self) -> Path:
        return wan_tiny.FOLDER.parent / self.name

    def model(self) -> Any:
        return self.model_class.from_pretrained(self.folder, subfolder="transformer").eval()

    def case(self) -> tuple[dict[str, Any], torch.Tensor]:
        return wan_tiny.golden_case() if self.name == "wan" else cogvideox_tiny.golden_case(1)

    def save_stock(self, folder: Path) -> Path:
        """Write the backbone alone, under the stock class's name."""
        model = self.model()
        known = inspect.signature(self.stock_class.__init__).parameters
        stock = self.stock_class(**{k: v for k, v in model.config.items() if k in known})
        stock.load_state_dict(
            {name: tensor for name, tensor in model.state_dict().items() if "_mot_ref" not in name}
        )
        stock.save_pretrained(folder / "transformer")
        return folder


VARIANTS = (
    Variant(
        "wan",
        WanVideoAsPromptTransformer3DModel,
        diffusers.WanTransformer3DModel,
        (0,),
        "blocks.3.ffn.net.2.weight",
    ),
    Variant(
        "cogvideox",
        CogVideoXVideoAsPromptTransformer3DModel,
        diffusers.CogVideoXTransformer3DModel,
        (0, 1, 2),
        "transformer_blocks.3.ff.net.2.weight",
    ),
)
