"""Optical flow from frame to frame, and its picture in colors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vap.media.change import dis_flow

RGB = NDArray[np.uint8]
Flow = NDArray[np.float32]
"""Displacement to the next frame in pixels, ``[H, W, 2]``: to the right, down."""

FlowModel = Callable[[RGB, RGB], Flow]
"""Flow from one frame ``[H, W, 3]`` to the next."""

_ITERATIONS = 20
_MULTIPLE = 8
# Hues of the color wheel (Baker et al., "A database and evaluation methodology for optical flow",
# 2011): the number of steps from each corner of the RGB cube to the next.
_CORNERS = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1))
_STEPS = (15, 6, 4, 11, 13, 6)


def flow_model(weights: Path | None = None, device: str = "cpu") -> FlowModel:
    """Return a model of optical flow.

    Args:
        weights: RAFT (large) in safetensors, as torchvision names its parameters; None for
            OpenCV's DIS flow, which has no weights.
        device: Where RAFT runs.
    """
    return dis_flow() if weights is None else _raft(weights, torch.device(device))


def flow_name(weights: Path | None) -> str:
    """Return what tables call the model, as the two are not comparable."""
    return "DIS" if weights is None else "RAFT"


def draw_flow(flow: Flow) -> RGB:
    """Draw flow: the hue is its direction, the saturation its share of the longest.

    VACE reads flow in this form.

    Args:
        flow: ``[H, W, 2]``.

    Returns:
        ``[H, W, 3]``; white where nothing moves.
    """
    wheel = _wheel()
    length = np.linalg.norm(flow, axis=-1)
    share = length / max(float(length.max()), 1e-5)
    angle = np.arctan2(-flow[..., 1], -flow[..., 0]) / np.pi  # −1 … 1
    place = (angle + 1) / 2 * (len(wheel) - 1)
    low = np.floor(place).astype(np.int64)
    part = (place - low)[..., None]
    hue = wheel[low] * (1 - part) + wheel[(low + 1) % len(wheel)] * part
    return np.floor(255 * (1 - share[..., None] * (1 - hue))).astype(np.uint8)


def _raft(weights: Path, device: torch.device) -> FlowModel:
    from safetensors.torch import load_file

    try:
        from torchvision.models.optical_flow import raft_large
    except (ImportError, RuntimeError) as error:  # torchvision of another build raises the latter
        raise ValueError(
            f"RAFT ({weights}) needs torchvision, which cannot be imported: {error}. Install the "
            "one that fits your torch, or leave out the weights for DIS flow."
        ) from error
    model = raft_large().to(device).eval()
    model.load_state_dict(load_file(weights))

    @torch.no_grad()
    def flow(first: RGB, second: RGB) -> Flow:
        height, width = first.shape[:2]
        down, right = -height % _MULTIPLE, -width % _MULTIPLE
        padding = (right // 2, right - right // 2, down // 2, down - down // 2)
        pair = torch.from_numpy(np.stack([first, second])).to(device).permute(0, 3, 1, 2)
        pair = torch.nn.functional.pad(pair / 127.5 - 1, padding, mode="replicate")
        found = model(pair[:1], pair[1:], num_flow_updates=_ITERATIONS)[-1][0]
        top, left = padding[2], padding[0]
        found = found[:, top : top + height, left : left + width]
        return np.asarray(found.permute(1, 2, 0).float().cpu())

    return flow


@cache
def _wheel() -> NDArray[np.float64]:
    """The hues in order of angle, ``[55, 3]`` in 0 … 1."""
    corners = np.array(_CORNERS, np.float64)
    edges = zip(corners, np.roll(corners, -1, axis=0), _STEPS, strict=True)
    return np.concatenate(
        [
            start + (end - start) * (np.floor(255 * np.arange(steps) / steps) / 255)[:, None]
            for start, end, steps in edges
        ]
    )
