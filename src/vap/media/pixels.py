"""Pixels of any kind as 8-bit sRGB: images, arrays and tensors; colors, orientation, alpha, size.

Wide gamuts are converted, high dynamic range is tone-mapped. FFmpeg's scaler turns YUV into RGB by
matrix and range. Transfer and primaries are done here: the scaler's own conversion of HLG depends
on the output's bit depth, and PyAV's wheels have no zscale. Numbers of transfers, primaries and
matrices are those of ITU-T H.273, as FFmpeg and PNG use them.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps

from vap.files.errors import refusal

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_LEVELS = 1 << 16
_WHITE = 255 << 8  # what FFmpeg's scaler makes white in 16 bits
_GAMMA28, _LINEAR, _SRGB, _PQ, _HLG = 5, 8, 13, 16, 18
_WHITE_NITS = 203.0  # HDR reference white, BT.2408
_PEAK_NITS = 1000.0  # of the display that HLG is made for, and most PQ
_KNEE = 0.75  # of SDR white: what is darker stays as it is
_D65 = (0.3127, 0.3290)
# x and y of red, green, blue and white. The primaries of BT.601 are shown as BT.709's, as players
# do: they differ by a few levels, and many files say one and mean the other.
_PRIMARIES: dict[int, tuple[float, ...]] = {
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),  # BT.2020 and BT.2100
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),  # P3 of cinemas
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),  # Display P3
}
_BT709 = (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65)
_GAMMA, _GAMMA_SLACK = 0.45455, 0.005  # of nearly every PNG: it stands for the curve of sRGB
_RELATIVE = ImageCms.Intent.RELATIVE_COLORIMETRIC


def are_plain(transfer: int, primaries: int) -> bool:
    """Whether colors are those of BT.709 and sRGB displays already."""
    return transfer not in (_LINEAR, _GAMMA28, _PQ, _HLG) and primaries not in _PRIMARIES


def to_srgb(values: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """Convert RGB [..., 3] of a video (white is 65280, as of FFmpeg's scaler) to sRGB.

    Light above SDR white is rolled off, hues are kept. SDR transfers are shown as sRGB.
    """
    light = _light(transfer)[values]
    return _encode(light, _PRIMARIES.get(primaries), tone_map=transfer in (_PQ, _HLG))


def managed(image: Image.Image, notes: Mapping[Any, Any], name: str) -> Image.Image:
    """Convert an image to sRGB by its ICC profile, HEIC's numbers or PNG's ``gAMA`` and ``cHRM``.

    ``notes`` is Pillow's ``Image.info``. A profile that is damaged or of other channels is ignored
    with a warning that names ``name``.
    """
    try:
        if notes.get("icc_profile"):
            transform = _transform(notes["icc_profile"], image.mode)
            if transform is not None:
                image = ImageCms.applyTransform(image, transform) or image
        elif nclx := notes.get("nclx_profile"):  # of HEIC
            transfer, primaries = nclx["transfer_characteristics"], nclx["color_primaries"]
            if not are_plain(transfer, primaries):
                values = np.asarray(image.convert("RGB"), np.uint16) * np.uint16(256)
                image = Image.fromarray(to_srgb(values, transfer, primaries))
        elif "srgb" not in notes and not notes.keys().isdisjoint(("gamma", "chromaticity")):
            image = _from_gamma(image.convert("RGB"), notes)
    except (ImageCms.PyCMSError, ArithmeticError, OSError, TypeError, ValueError) as error:
        logger.warning("%s: its color profile cannot be used (%s); colors may be off", name, error)
    return image.convert("RGB")


def _from_gamma(image: Image.Image, notes: Mapping[Any, Any]) -> Image.Image:
    gamma = notes.get("gamma", _GAMMA)
    white_first = notes.get("chromaticity", (*_D65, *_BT709[:6]))
    chromaticities = (*white_first[2:], *white_first[:2])
    if np.allclose((gamma, *chromaticities), (_GAMMA, *_BT709), rtol=0, atol=_GAMMA_SLACK):
        return image
    light = _light(_SRGB)[::256]
    if abs(gamma - _GAMMA) > _GAMMA_SLACK:
        light = np.linspace(0, 1, 256, dtype=np.float32) ** np.float32(1 / gamma)
    return Image.fromarray(_encode(light[np.asarray(image)], chromaticities, tone_map=False))


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> Any:
    """Transform from a profile to sRGB; None if its colors are those of sRGB."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    target = ImageCms.createProfile("sRGB")
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    transform = ImageCms.buildTransform(source, target, mode, "RGB", _RELATIVE, flags)
    if mode == "RGB":
        levels = np.arange(0, 256, 15, dtype=np.uint8)
        cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
        shown = ImageCms.applyTransform(Image.fromarray(cube), transform)
        if np.abs(np.asarray(shown).astype(int) - cube).max() <= 1:
            return None
    return transform


@lru_cache(maxsize=8)
def _light(transfer: int) -> NDArray[np.float32]:
    """Displayed light of 16-bit values, as a table; SDR white is 1.

    HLG's system gamma of 1.2 applies to each channel, not to the luminance as in BT.2100: this
    keeps the look of SDR cameras and displays.
    """
    value = np.minimum(np.arange(_LEVELS) / _WHITE, 1)
    match transfer:
        case 8:
            light = value
        case 5:
            light = value**2.8
        case 16:  # BT.2100, table 4
            root = value ** (32 / 2523)
            ratio = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
            light = 10_000 / _WHITE_NITS * ratio ** (16384 / 2610)
        case 18:  # BT.2100, table 5
            bright = np.exp((value - 0.55991073) / 0.17883277) + 0.28466892
            scene = np.where(value <= 0.5, value**2 / 3, bright / 12)  # noqa: PLR2004
            light = _PEAK_NITS / _WHITE_NITS * scene**1.2
        case _:  # IEC 61966-2-1
            light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004
    return light.astype(np.float32)


@lru_cache(maxsize=8)
def _to_bt709(chromaticities: tuple[float, ...]) -> NDArray[np.float32]:
    """Matrix from linear RGB of some primaries to that of BT.709; white stays white."""
    return (np.linalg.inv(_xyz(_BT709)) @ _xyz(chromaticities)).astype(np.float32)


def _xyz(chromaticities: tuple[float, ...]) -> NDArray[np.float64]:
    """Matrix from linear RGB to XYZ relative to white (SMPTE RP 177)."""
    if min(chromaticities) <= 0:
        raise ValueError(f"its chromaticities {chromaticities} are not valid colors")
    points = np.array([(x / y, 1, (1 - x - y) / y) for x, y in np.reshape(chromaticities, (4, 2))])
    red_green_blue, white = points[:3].T, points[3]
    scaled: NDArray[np.float64] = red_green_blue * np.linalg.solve(red_green_blue, white)
    return scaled / white[:, np.newaxis]


def _encode(
    light: NDArray[np.float32], chromaticities: tuple[float, ...] | None, *, tone_map: bool
) -> NDArray[np.uint8]:
    if chromaticities is not None:
        light = light @ _to_bt709(chromaticities).T
    if tone_map:
        _roll_off(light)
    places = np.clip(light, 0, 1) * np.float32(_LEVELS - 1) + np.float32(0.5)
    return _srgb_levels()[places.astype(np.uint16)]


def _roll_off(light: NDArray[np.float32]) -> None:
    """Bring light from the knee to the peak below white, in place (Reinhard's extended curve)."""
    strongest = light.max(axis=-1)
    bright = strongest > _KNEE
    room = 1 - _KNEE
    above = (strongest[bright] - _KNEE) / room
    most = (_PEAK_NITS / _WHITE_NITS - _KNEE) / room
    lower = _KNEE + room * np.minimum(above * (1 + above / most**2) / (1 + above), 1)
    light[bright] *= (lower / strongest[bright])[:, np.newaxis]


@lru_cache(maxsize=1)
def _srgb_levels() -> NDArray[np.uint8]:
    """The 8-bit sRGB value of linear light in 16-bit steps."""
    light = np.linspace(0, 1, _LEVELS)
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)  # noqa: PLR2004
    return np.rint(value * 255).astype(np.uint8)


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
    if isinstance(frames, np.ndarray):
        array = frames
    else:
        tensor = frames.detach().cpu()
        # NumPy has no bfloat16.
        array = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
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
