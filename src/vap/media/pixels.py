"""Pixels of any kind as 8-bit RGB: images, arrays and tensors; orientation, alpha, resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vap.files.errors import refusal
from vap.media.colors import managed

if TYPE_CHECKING:
    import torch

RGB = NDArray[np.uint8]  # [H, W, 3] or [T, H, W, 3], 0..255
Fit = Literal["cover", "stretch"]
Resample = Literal["lanczos", "bicubic"]

_CHANNELS = 3
_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}
_SLACK = 1e-3  # float rounding beyond 0..1 that is clipped in silence


def image_to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to upright 8-bit sRGB; transparency is laid on white.

    Of 16-bit integers, the 8 high bits are kept; float images are 0..1.
    """
    name, notes = getattr(image, "filename", "") or "image", image.info
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if image.mode == "I":
            _check_sixteen_bits(name, values)
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        image = Image.fromarray(to_uint8(name, np.asarray(image)))
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode in ("1", "LA", "La"):
        image = image.convert("L")
    elif image.mode not in ("L", "CMYK", "RGB"):
        image = (image if alpha is None else image.convert("RGBA")).convert("RGB")
    image = managed(image, notes, name)
    if alpha is not None:
        return Image.fromarray(on_white(np.dstack([np.asarray(image), np.asarray(alpha)])))
    image.info.clear()  # what is converted must not be so again
    return image


def on_white(rgba: NDArray[np.uint8]) -> RGB:
    """Lay pixels [..., 4] of straight alpha on white: [..., 3]."""
    if rgba[..., 3].min(initial=255) == 255:  # noqa: PLR2004
        return rgba[..., :3]
    alpha = rgba[..., 3:].astype(np.uint16)
    mixed = rgba[..., :3] * alpha + 255 * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)


def resize(
    frame: RGB, size: tuple[int, int], fit: Fit = "cover", resample: Resample = "lanczos"
) -> RGB:
    """Resize one frame [H, W, 3] to (height, width) with an antialiasing filter.

    ``"cover"`` keeps the proportions and crops the center; ``"stretch"`` crops nothing.
    """
    height, width = size
    rows, columns = frame.shape[:2]
    if (rows, columns) == size:
        return frame
    box = (0.0, 0.0, float(columns), float(rows))
    if fit == "cover":
        scale = min(columns / width, rows / height)
        left, top = (columns - width * scale) / 2, (rows - height * scale) / 2
        box = (max(0.0, left), max(0.0, top), columns - max(0.0, left), rows - max(0.0, top))
    image = Image.fromarray(frame).resize((width, height), _FILTERS[resample], box=box)
    return np.asarray(image)


def to_channels_last(name: str, frames: NDArray[Any] | torch.Tensor) -> NDArray[Any]:
    """View frames [T, H, W, 3] or [T, 3, H, W], uint8 or floating point, as [T, H, W, 3].

    Where both shapes fit, an array is channels-last and a tensor channels-first. Only bfloat16 and
    GPU tensors are copied. ``name`` is for errors.
    """
    channels_first = not isinstance(frames, np.ndarray)
    array = frames if isinstance(frames, np.ndarray) else _to_array(frames)
    shape = array.shape
    axes = [axis for axis in ((1, 3) if channels_first else (3, 1)) if array.ndim == 4]  # noqa: PLR2004
    axis = next((axis for axis in axes if shape[axis] == _CHANNELS), None)
    if axis is None or 0 in shape[1:]:
        fix = "Give [T, H, W, 3] or [T, 3, H, W]: frames, RGB channels, height, width."
        raise refusal(name, f"its shape is {list(shape)}", fix)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        fix = "Give uint8 in 0..255, or floating point in 0..1."
        raise refusal(name, f"its values are {array.dtype}", fix)
    return np.moveaxis(array, axis, 3)


def to_uint8(name: str, frame: NDArray[Any]) -> RGB:
    """Convert [..., H, W, 3] of uint8, or floating point in 0..1, to uint8 (nearest)."""
    if frame.dtype == np.uint8:
        return np.ascontiguousarray(frame)
    low, high = float(frame.min()), float(frame.max())
    if not (low >= -_SLACK and high <= 1 + _SLACK):  # also catches NaN
        fix = "Floating point frames are 0..1: "
        fix += "divide by 255." if high > 2 else "map -1..1 with (x + 1) / 2."  # noqa: PLR2004
        raise refusal(name, f"its values run from {low:.4g} to {high:.4g}", fix)
    return np.rint(np.clip(frame, 0, 1) * np.float32(255)).astype(np.uint8, order="C")


def _check_sixteen_bits(name: str, values: NDArray[np.int32]) -> None:
    """Refuse 32-bit gray whose values are not of 16 bits; some decoders give 16 bits as 32."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF or 0 < high <= 0xFF:  # noqa: PLR2004  (of 16 bits and of 8)
        problem = f"its values are integers of 32 bits that run from {low} to {high}"
        fix = "Integers are 8 or 16 bits: save it as such, or convert it with astype(np.uint8)."
        raise refusal(name, problem, fix)


def _to_array(tensor: torch.Tensor) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    # NumPy has no bfloat16.
    array: NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return array
