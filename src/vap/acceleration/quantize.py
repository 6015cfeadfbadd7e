"""Linear layers with weights quantized to 8 bits, converted when the layer runs.

This saves memory, not time: half the bytes, and the rounding of the weights (0.6 % of an output
with int8, 4 % with fp8). torchao's weights have the same error, but are not plain tensors that
:mod:`.offload` can pack; diffusers' layerwise casting has three times the error
(docs/notes/performance.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

from vap.acceleration.plan import Quantization, check_quantize

_STORED: dict[Quantization, torch.dtype] = {"int8": torch.int8, "fp8": torch.float8_e4m3fn}


class EightBitLinear(nn.Linear):
    """A linear layer with an eight-bit weight ``[out, in]`` and a scale for each of its rows.

    The weight's bytes are whole numbers, those of fp8 too: an adapter takes the precision of a
    layer whose weight is floating-point, and no product can be computed in fp8.
    """

    scale: torch.Tensor

    def __init__(self, linear: nn.Linear, stored: torch.dtype) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        weight = linear.weight.detach().float()
        limit = 127.0 if stored == torch.int8 else torch.finfo(stored).max
        scale = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / limit
        narrow = weight / scale
        if stored == torch.int8:
            narrow = narrow.round()
        self._stored = stored
        whole = torch.int8 if stored == torch.int8 else torch.uint8
        self.weight = nn.Parameter(narrow.to(stored).view(whole), requires_grad=False)
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.bias = linear.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Convert the weight and multiply; ``[…, in]`` → ``[…, out]``."""
        weight = self.weight.view(self._stored).to(input.dtype)
        return F.linear(input, weight * self.scale.to(input.dtype), self.bias)


def quantize(blocks: Iterable[nn.Module], precision: Quantization) -> None:
    """Quantize the linear layers of a transformer's blocks, those of experts too."""
    check_quantize(precision)
    for block in blocks:
        for parent, name, linear in list(_layers(block)):
            setattr(parent, name, EightBitLinear(linear, _STORED[precision]))


def quantizable_bytes(block: nn.Module) -> int:
    """Bytes of a block's weights that would be quantized."""
    return sum(linear.weight.nbytes for _, _, linear in _layers(block))


def _layers(block: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Linear layers that are not part of a norm, with their parents and names."""
    for path, parent in block.named_modules():
        if any(part.startswith("norm") for part in path.split(".")):
            continue
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                yield parent, name, child
