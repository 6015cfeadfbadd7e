"""RIFE 4, a frame interpolator (Huang et al., 2022), for the middle of two frames.

The weights of Practical-RIFE 4.15 to 4.26 (MIT license) fit, converted to safetensors; sizes follow
from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.evaluation.metrics.motion_smoothness import Interpolator
from vap.evaluation.metrics.warping import resized, warped
from vap.files.reading import reading

_SLOPE = 0.2
_MIDDLE = 0.5
_FLOW, _MASK = 4, 1  # channels: flow to either frame, and which of them is seen
_IMAGES = 6
_MULTIPLE = 4  # of the coarsest scale


class RifeBlock(nn.Module):
    """One scale: what is known so far to a better flow, a mask and features."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_halved(inputs, width // 2), _halved(width // 2, width))
        self.convblock = nn.Sequential(*(_Residual(width) for _ in range(8)))
        # Four pixels for each, which the shuffle spreads out.
        self.lastconv = nn.Sequential(
            nn.ConvTranspose2d(width, 4 * outputs, 4, 2, 1), nn.PixelShuffle(2)
        )

    def forward(self, known: Tensor, flow: Tensor | None, scale: int) -> Tensor:
        """Work at ``1 / scale`` of the size ``[B, C, H, W]``; flow is in pixels of that size."""
        known = resized(known, 1 / scale)
        if flow is not None:
            known = torch.cat([known, resized(flow, 1 / scale) / scale], 1)
        found = resized(self.lastconv(self.convblock(self.conv0(known))), scale)
        return torch.cat([found[:, :_FLOW] * scale, found[:, _FLOW:]], 1)


class Rife(nn.Module):
    """Estimates flow from coarse to fine and blends both frames."""

    def __init__(
        self, widths: list[int], encoder: tuple[int, int], outputs: int, features: int
    ) -> None:
        super().__init__()
        hidden, encoded = encoder
        self.encode = _Encoder(hidden, encoded)
        self._features = features
        first = _IMAGES + 2 * encoded + 1
        for index, width in enumerate(widths):
            inputs = first if index == 0 else first + _MASK + _FLOW + features
            self.add_module(f"block{index}", RifeBlock(inputs, width, outputs))
        self._blocks = len(widths)

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Rife:
        """A network of the sizes that the weights have."""
        blocks = [name for name in tensors if name.endswith(".convblock.0.beta")]
        widths = [tensors[f"block{i}.convblock.0.beta"].shape[1] for i in range(len(blocks))]
        hidden = tensors["encode.cnn0.weight"].shape[0]
        encoded = tensors["encode.cnn3.weight"].shape[1]
        outputs = tensors["block0.lastconv.0.weight"].shape[1] // 4
        inputs = tensors["block1.conv0.0.0.weight"].shape[1]
        features = inputs - (_IMAGES + 2 * encoded + 1 + _MASK + _FLOW)
        return cls(widths, (hidden, encoded), outputs, features)

    @property
    def coarsest(self) -> int:
        """How much smaller the first block's frames are."""
        scale: int = 2 ** (self._blocks - 1)
        return scale

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Predict the frame between two of ``[B, 3, H, W]`` in 0 to 1."""
        frames, encoded = (first, second), (self.encode(first), self.encode(second))
        time = torch.full_like(first[:, :1], _MIDDLE)
        flow, rest = None, first[:, :0]
        for index in range(self._blocks):
            seen = [*frames, *encoded] if flow is None else _warped([*frames, *encoded], flow)
            known = torch.cat([*seen, time, rest], 1)
            found = self.get_submodule(f"block{index}")(known, flow, self.coarsest >> index)
            flow = found[:, :_FLOW] if flow is None else flow + found[:, :_FLOW]
            rest = found[:, _FLOW : _FLOW + _MASK + self._features]
        assert flow is not None
        near, far = _warped(frames, flow)
        share = rest[:, :_MASK].sigmoid()
        return near * share + far * (1 - share)


@lru_cache(maxsize=1)
def load_rife(weights: Path, device: str) -> Interpolator:
    """Load RIFE of a safetensors file."""
    with reading(weights, "Convert the weights of Practical-RIFE as docs/metrics.md shows."):
        tensors = {
            name.removeprefix("module."): tensor for name, tensor in load_file(weights).items()
        }
        model = Rife.of(tensors)
        # What only training used, such as a teacher, is left out.
        own = model.state_dict().keys()
        model.load_state_dict({name: tensors[name] for name in own})
    model = model.to(device).eval()
    multiple = _MULTIPLE * model.coarsest

    @torch.no_grad()
    def halfway(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = first.shape[:2]
        pair = torch.from_numpy(np.stack([first, second])).to(device).permute(0, 3, 1, 2) / 255
        padding = (0, -width % multiple, 0, -height % multiple)
        pair = F.pad(pair, padding, mode="replicate")
        found = model(pair[:1], pair[1:])[0, :, :height, :width].clamp(0, 1) * 255
        return found.permute(1, 2, 0).to(torch.uint8).cpu().numpy()

    return halfway


class _Encoder(nn.Module):
    """Features of a frame at its full size."""

    def __init__(self, hidden: int, encoded: int) -> None:
        super().__init__()
        self.cnn0 = nn.Conv2d(3, hidden, 3, 2, 1)
        self.cnn1 = nn.Conv2d(hidden, hidden, 3, 1, 1)
        self.cnn2 = nn.Conv2d(hidden, hidden, 3, 1, 1)
        self.cnn3 = nn.ConvTranspose2d(hidden, encoded, 4, 2, 1)

    def forward(self, frame: Tensor) -> Tensor:
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            frame = F.leaky_relu(layer(frame), _SLOPE)
        features: Tensor = self.cnn3(frame)
        return features


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.beta = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x) * self.beta + x, _SLOPE)


def _halved(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.LeakyReLU(_SLOPE))


def _warped(images: Sequence[Tensor], flow: Tensor) -> list[Tensor]:
    """Images of the two frames, in turn, each read where the flow to its frame leads."""
    return [warped(image, flow[:, 2 * (i % 2) : 2 * (i % 2) + 2]) for i, image in enumerate(images)]
