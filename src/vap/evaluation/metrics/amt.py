"""AMT-S, the frame interpolator of VBench (Li et al., 2023), for the middle of two frames.

Its released weights may not be used commercially (CC BY-NC 4.0).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from vap.evaluation.metrics.motion_smoothness import Interpolator
from vap.evaluation.metrics.warping import read_at, resized, warped
from vap.files.reading import reading

_CHANNELS = (20, 32, 44, 56)
_SIDE_CHANNELS = 20
_FLOWS = 3  # predictions that are blended
_LEVELS, _RADIUS = 4, 3
_SEEN = 2 * _LEVELS * (2 * _RADIUS + 1) ** 2  # correlations around a pixel, of both directions
_MIDDLE = 0.5
_SLOPE = 0.1
_MULTIPLE = 16
_SMALLEST = 128  # pixels, of which the coarsest correlations have two


class Amt(nn.Module):
    """Estimates flow from the middle to both frames, and corrects it by all-pairs correlation."""

    def __init__(self) -> None:
        super().__init__()
        fine, medium, coarse, coarsest = _CHANNELS
        self.feat_encoder = _Features()
        self.encoder = _Pyramid()
        self.decoder4 = _Decoder(2 * coarsest + 1, 2 * coarsest, coarse + 4)
        self.decoder3 = _Decoder(3 * coarse + 4, 3 * coarse, medium + 4)
        self.decoder2 = _Decoder(3 * medium + 4, 3 * medium, fine + 4)
        self.decoder1 = _Decoder(3 * fine + 4, 3 * fine, 8 * _FLOWS)
        self.update4, self.update3, self.update2 = _Update(coarse), _Update(medium), _Update(fine)
        self.comb_block = nn.Sequential(
            nn.Conv2d(3 * _FLOWS, 6 * _FLOWS, 3, padding=1),
            nn.PReLU(6 * _FLOWS),
            nn.Conv2d(6 * _FLOWS, 3, 3, padding=1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Predict the frame between two of ``[1, 3, H, W]`` in 0 to 1, sides multiples of 16."""
        mean = torch.cat([first, second]).mean()
        frames = [first - mean, second - mean]
        volume = _Correlation(*self.feat_encoder(torch.cat(frames)).chunk(2))
        pyramids = list(zip(*map(self.encoder, frames), strict=True))

        *_, (near, far) = pyramids
        time = torch.full_like(near[:, :1], _MIDDLE)
        found = self.decoder4(torch.cat([near, far, time], 1))
        flow, feature = found[:, :4], found[:, 4:]
        feature, flow = self.update4(feature, flow, volume, 1)
        rest = ((self.decoder3, self.update3, 2), (self.decoder2, self.update2, 4))
        for level, (decoder, update, scale) in zip((2, 1), rest, strict=True):
            found = decoder(_seen(feature, pyramids[level], flow))
            flow, feature = found[:, :4] + 2 * resized(flow, 2), found[:, 4:]
            feature, flow = update(feature, flow, volume, scale)
        found = self.decoder1(_seen(feature, pyramids[0], flow))
        return self._blend(frames, found, 2 * resized(flow, 2), mean)

    def _blend(self, frames: list[Tensor], found: Tensor, flow: Tensor, mean: Tensor) -> Tensor:
        """Warp both frames by each of the flows, and combine the predictions."""
        sizes = [2 * _FLOWS, 2 * _FLOWS, _FLOWS, 3 * _FLOWS]
        to_first, to_second, masks, residuals = found.split(sizes, 1)
        predicted = []
        for index in range(_FLOWS):
            pair = slice(2 * index, 2 * index + 2)
            near = warped(frames[0], flow[:, :2] + to_first[:, pair])
            far = warped(frames[1], flow[:, 2:] + to_second[:, pair])
            share = masks[:, index : index + 1].sigmoid()
            residual = residuals[:, 3 * index : 3 * index + 3]
            predicted.append(share * near + (1 - share) * far + mean + residual)
        blended = torch.stack(predicted).mean(0) + self.comb_block(torch.cat(predicted, 1))
        return blended.clamp(0, 1)


@lru_cache(maxsize=1)
def load_amt(weights: Path, device: str) -> Interpolator:
    """Load AMT-S of a safetensors file."""
    with reading(weights, "Convert amt-s.pth as docs/metrics.md shows."):
        model = Amt()
        model.load_state_dict(load_file(weights))
    model = model.to(device).eval()

    @torch.no_grad()
    def halfway(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = first.shape[:2]
        pair = torch.from_numpy(np.stack([first, second])).to(device).permute(0, 3, 1, 2) / 255
        down, right = -height % _MULTIPLE, -width % _MULTIPLE
        top, left = down // 2, right // 2
        pair = F.pad(pair, (left, right - left, top, down - top), mode="replicate")
        if min(pair.shape[-2:]) < _SMALLEST:
            raise ValueError(
                f"Frames of {width}×{height} are too small for AMT-S, which needs {_SMALLEST} "
                "pixels a side. Use interpolator: DIS."
            )
        found = model(pair[:1], pair[1:])[0, :, top : top + height, left : left + width]
        return (found * 255).permute(1, 2, 0).to(torch.uint8).cpu().numpy()

    return halfway


class _Correlation:
    """How alike each position of one frame is to all of the other, in both directions."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        _, channels, self._height, self._width = first.shape
        alike = first.flatten(2)[0].T @ second.flatten(2)[0] / channels**0.5
        size = (-1, 1, self._height, self._width)
        self._levels = [(alike.reshape(size), alike.T.reshape(size))]
        for _ in range(_LEVELS - 1):
            forth, back = self._levels[-1]
            self._levels.append((F.avg_pool2d(forth, 2), F.avg_pool2d(back, 2)))

    def around(self, flow: Tensor) -> Tensor:
        """Read the correlations around where flow ``[1, 4, H, W]`` leads, of eighths of pixels."""
        # From one frame to the other it is twice as far as from the middle, in a line.
        places = (flow[0, 2:] * 2, flow[0, :2] * 2)
        return torch.cat([self._read(turn, place) for turn, place in enumerate(places)])[None]

    def _read(self, turn: int, flow: Tensor) -> Tensor:
        y, x = torch.meshgrid(
            torch.arange(self._height, device=flow.device),
            torch.arange(self._width, device=flow.device),
            indexing="ij",
        )
        x, y = ((place + step).reshape(-1, 1, 1) for place, step in zip((x, y), flow, strict=True))
        steps = torch.arange(-_RADIUS, _RADIUS + 1, device=flow.device)
        read = []
        for level, volumes in enumerate(self._levels):
            shape = (len(x), len(steps), len(steps))
            # As trained, the outer step goes to the right and the inner one down.
            right = (x / 2**level + steps[:, None]).expand(shape)
            down = (y / 2**level + steps).expand(shape)
            read.append(read_at(volumes[turn], right, down, outside="zeros").flatten(1))
        return torch.cat(read, 1).T.reshape(-1, self._height, self._width)


class _Update(nn.Module):
    """Corrects features and flow by the correlations that the flow leads to."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(_SEEN, 64, 1)
        self.convf1 = nn.Conv2d(4, 40, 7, padding=3)
        self.convf2 = nn.Conv2d(40, 20, 3, padding=1)
        self.conv = nn.Conv2d(84, 68, 3, padding=1)
        self.gru = _two_convolutions(68 + 4 + features, 76)
        self.feat_head = _two_convolutions(76, features)
        self.flow_head = _two_convolutions(76, 4)

    def forward(
        self, feature: Tensor, flow: Tensor, volume: _Correlation, scale: int
    ) -> tuple[Tensor, Tensor]:
        """Work at an eighth of the size of the frames, ``scale`` times smaller than the input."""
        small, small_flow = feature, flow
        if scale > 1:
            small, small_flow = resized(feature, 1 / scale), resized(flow, 1 / scale) / scale
        alike = _leaky(self.convc1(volume.around(small_flow)))
        motion = _leaky(self.convf2(_leaky(self.convf1(small_flow))))
        known = _leaky(self.conv(torch.cat([alike, motion], 1)))
        hidden = self.gru(torch.cat([known, small_flow, small], 1))
        more_feature, more_flow = self.feat_head(hidden), self.flow_head(hidden)
        if scale > 1:
            more_feature, more_flow = resized(more_feature, scale), resized(more_flow, scale)
        return feature + more_feature, flow + scale * more_flow


class _Decoder(nn.Module):
    """From what is known at one size to flow and features at twice that."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            _activated(inputs, width), _Residual(width), nn.ConvTranspose2d(width, outputs, 4, 2, 1)
        )

    def forward(self, known: Tensor) -> Tensor:
        found: Tensor = self.convblock(known)
        return found


class _Residual(nn.Module):
    """Five convolutions, of which two change a part of the channels only."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv3 = _activated(width, width), _activated(width, width)
        self.conv2, self.conv4 = (_activated(_SIDE_CHANNELS, _SIDE_CHANNELS) for _ in range(2))
        self.conv5 = nn.Conv2d(width, width, 3, padding=1)
        self.prelu = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for whole, part in ((self.conv1, self.conv2), (self.conv3, self.conv4)):
            out = whole(out)
            out = torch.cat([out[:, :-_SIDE_CHANNELS], part(out[:, -_SIDE_CHANNELS:])], 1)
        changed: Tensor = self.prelu(x + self.conv5(out))
        return changed


class _Pyramid(nn.Module):
    """Features of a frame at four sizes, from a half to a sixteenth."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for level, width in enumerate(_CHANNELS, start=1):
            halved = _activated(inputs, width, stride=2)
            self.add_module(f"pyramid{level}", nn.Sequential(halved, _activated(width, width)))
            inputs = width

    def forward(self, frame: Tensor) -> list[Tensor]:
        features = []
        for part in self.children():
            frame = part(frame)
            features.append(frame)
        return features


class _Features(nn.Module):
    """Features at an eighth of the size, for correlation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 3)
        self.layer1 = nn.Sequential(_Bottleneck(32, 32, 1), _Bottleneck(32, 32, 1))
        self.layer2 = nn.Sequential(_Bottleneck(32, 64, 2), _Bottleneck(64, 64, 1))
        self.layer3 = nn.Sequential(_Bottleneck(64, 96, 2), _Bottleneck(96, 96, 1))
        self.conv2 = nn.Conv2d(96, 84, 1)

    def forward(self, frames: Tensor) -> Tensor:
        x = F.instance_norm(self.conv1(frames)).relu()
        features: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return features


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        narrow = outputs // 4
        self.conv1 = nn.Conv2d(inputs, narrow, 1)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride, 1)
        self.conv3 = nn.Conv2d(narrow, outputs, 1)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for layer in (self.conv1, self.conv2, self.conv3):
            out = F.instance_norm(layer(out)).relu()
        if hasattr(self, "downsample"):
            x = F.instance_norm(self.downsample(x))
        return (x + out).relu()


def _seen(feature: Tensor, pair: tuple[Tensor, ...], flow: Tensor) -> Tensor:
    near, far = warped(pair[0], flow[:, :2]), warped(pair[1], flow[:, 2:])
    return torch.cat([feature, near, far, flow], 1)


def _activated(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.PReLU(outputs))


def _two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, 76, 3, padding=1),
        nn.LeakyReLU(_SLOPE),
        nn.Conv2d(76, outputs, 3, padding=1),
    )


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, _SLOPE)
