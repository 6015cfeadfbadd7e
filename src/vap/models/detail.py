"""Detail of the input image for decoded frames: what a small autoencoder cannot keep.

A video repeats much of its first frame, which is given in full. So each frame is matched with the
first as it was decoded. What the image has beyond its own decoding moves along with the match and
is added where a gate opens, and convolutions correct the rest. What is coarse stays as decoded.
Autoencoders that read the image while they decode (Reducio, arXiv:2411.13552) use the same fact.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

_COARSE, _FINE = 4, 2  # pixels a side of a place
_NEAR = (200.0, 20.0)  # how strongly matches prefer near places: one that stays, and one that moves
_SHARPNESS = 10.0  # of the choice between places
_SMALL = 0.1  # gain of residual branches at the start
_BLUR = 5  # pixels of a mean; two means tell coarse from detail
_SHIFT = 0.25  # of half a picture: how far a correction of a match reaches


class DetailTransfer(ModelMixin, ConfigMixin):
    """Add the detail of an image to a video that starts with it.

    Args:
        coarse_channels: Width where a place has 4×4 pixels.
        fine_channels: Width where a place has 2×2 pixels.
        match_channels: Numbers by which places are compared, for each match.
    """

    @register_to_config
    def __init__(
        self, coarse_channels: int = 96, fine_channels: int = 48, match_channels: int = 24
    ) -> None:
        super().__init__()
        matches, colors = len(_NEAR), 3
        coarse, fine = colors * _COARSE**2, colors * _FINE**2
        self.look = nn.Conv2d(coarse, coarse_channels, 1)
        self.look_blocks = nn.ModuleList([ResidualBlock(coarse_channels) for _ in range(2)])
        self.query = nn.Conv2d(coarse_channels, matches * match_channels, 1)
        self.key = nn.Conv2d(coarse_channels, matches * match_channels, 1)
        self.nearness = nn.Parameter(torch.tensor(_NEAR).log())
        self.sharpness = nn.Parameter(torch.ones(matches))
        joined = 2 * coarse_channels + 2 * matches * (1 + coarse)
        self.join = nn.Conv2d(joined, coarse_channels, 1)
        self.coarse_blocks = nn.ModuleList([ResidualBlock(coarse_channels) for _ in range(2)])
        self.shift = nn.Conv2d(coarse_channels, 2 * matches, 3, padding=1)
        self.up = nn.Conv2d(coarse_channels, fine_channels * (_COARSE // _FINE) ** 2, 1)
        self.enter = nn.Conv2d(fine * (1 + 2 * matches), fine_channels, 3, padding=1)
        self.fine_blocks = nn.ModuleList([ResidualBlock(fine_channels) for _ in range(3)])
        self.leave = nn.Conv2d(fine_channels, fine + matches * _FINE**2, 3, padding=1)
        for last in (self.shift, self.leave):
            _start_at_zero(last)

    def forward(self, video: Tensor, image: Tensor) -> Tensor:
        """Return the video with the detail of the image.

        Args:
            video: ``[B, 3, T, H, W]`` in −1 … 1, as decoded; its first frame shows the image.
            image: ``[B, 3, H, W]`` in −1 … 1.
        """
        count = video.shape[2]
        frames = video.transpose(1, 2).flatten(0, 1)
        decoded = video[:, :, 0]
        seen = _through(self.look_blocks, self.look(functional.pixel_unshuffle(frames, _COARSE)))
        first = seen.unflatten(0, (-1, count))[:, 0].repeat_interleave(count, 0)
        # The image beside its decoding: both move, and their difference is the detail.
        both = torch.cat([image, decoded], dim=1).repeat_interleave(count, 0)
        flows = self._match(seen, first)
        rough = [functional.pixel_unshuffle(warp(both, flow), _COARSE) for flow in flows]
        coarse = self.join(torch.cat([seen, first, *flows, *rough], dim=1))
        coarse = _through(self.coarse_blocks, coarse)
        shifts = _SHIFT * self.shift(coarse)
        moved = [warp(both, f + s) for f, s in zip(flows, shifts.chunk(len(flows), 1), strict=True)]
        fine = functional.pixel_shuffle(self.up(functional.silu(coarse)), _COARSE // _FINE)
        close = [functional.pixel_unshuffle(each, _FINE) for each in (frames, *moved)]
        fine = fine + self.enter(torch.cat(close, dim=1))
        fine = self.leave(functional.silu(_through(self.fine_blocks, fine)))
        correction, *gates = functional.pixel_shuffle(fine, _FINE).split([3] + [1] * len(moved), 1)
        details = [each[:, :3] - each[:, 3:] for each in moved]
        added = sum(g.sigmoid() * d for g, d in zip(gates, details, strict=True)) / len(moved)
        # The latents alone decide what is coarse: the image must not undo the effect.
        changed = frames + _detail_of(added + correction)
        return changed.unflatten(0, (-1, count)).transpose(1, 2)

    def _match(self, seen: Tensor, first: Tensor) -> list[Tensor]:
        """Where each place was in the first frame: for each match, a flow ``[N, 2, h, w]``."""
        height, width = seen.shape[-2:]
        matches = len(self.nearness)
        # In full precision: distances between near places are small differences.
        with torch.autocast(seen.device.type, enabled=False):
            query, key = (
                functional.normalize(
                    layer(each.float()).unflatten(1, (matches, -1)).flatten(3), dim=2
                ).transpose(2, 3)
                for layer, each in ((self.query, seen), (self.key, first))
            )
            places = _grid(height, width, seen.device).flatten(1).T.expand(*query.shape[:2], -1, 2)
            near = self.nearness.exp().view(-1, 1, 1)
            sharp = _SHARPNESS * self.sharpness.view(-1, 1, 1)
            # A squared distance is a product, too, but for a part that all keys share.
            query = torch.cat(
                [sharp * query, 2 * near * places, -near.expand_as(places[..., :1])], -1
            )
            key = torch.cat([key, places, places.square().sum(-1, keepdim=True)], -1)
            found = functional.scaled_dot_product_attention(query, key, places, scale=1.0)
            flow = (found - places).transpose(2, 3).unflatten(3, (height, width))
        return [*flow.unbind(1)]


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.normal_(self.conv2.weight, std=_SMALL * (9 * channels) ** -0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        hidden = self.conv1(functional.silu(self.norm(x)))
        return x + self.conv2(functional.silu(hidden))


def warp(pictures: Tensor, flow: Tensor) -> Tensor:
    """Move pictures ``[N, C, H, W]``.

    Args:
        pictures: What is moved.
        flow: ``[N, 2, h, w]``: where each place comes from, in halves of the picture, right and
            down.
    """
    height, width = pictures.shape[-2:]
    smooth = functional.interpolate(flow.float(), size=(height, width), mode="bilinear")
    places = (_grid(height, width, flow.device) + smooth).permute(0, 2, 3, 1)
    return functional.grid_sample(
        pictures.float(), places, padding_mode="border", align_corners=False
    )


def _detail_of(pictures: Tensor) -> Tensor:
    """Pictures without what is larger than a few pixels."""
    coarse = pictures
    for _ in range(2):
        padded = functional.pad(coarse, (_BLUR // 2,) * 4, mode="replicate")
        coarse = functional.avg_pool2d(padded, _BLUR, stride=1)
    return pictures - coarse


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """The middle of each place, ``[2, H, W]`` in −1 … 1: right, down."""
    down, right = (
        (torch.arange(size, device=device) + 0.5) / size * 2 - 1 for size in (height, width)
    )
    return torch.stack(torch.meshgrid(right, down, indexing="xy"))


def _start_at_zero(layer: nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _through(blocks: nn.ModuleList, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x
