"""Which adapters a transformer's weights carry."""

from __future__ import annotations

from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def adapter_state(transformer: nn.Module) -> list[tuple[Any, ...]]:
    """What of each adapted layer decides its output, next to the weights.

    Equal as long as no adapter is added, switched, scaled, merged or taken away.
    """
    if not hasattr(transformer, "peft_config"):
        return []
    return [
        (
            *(tuple(adapters) for adapters in (layer.active_adapters, layer.merged_adapters)),
            dict(getattr(layer, "scaling", {})),
            layer.disable_adapters,
        )
        for layer in transformer.modules()
        if isinstance(layer, BaseTunerLayer)
    ]
