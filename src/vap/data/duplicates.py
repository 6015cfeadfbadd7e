"""Near-duplicates: clips that are the same to the eye, whatever their encoding and size.

Measured on photographs under four effects: another codec, half the size, half the frame rate, GIF
colors or added noise changes up to 40 of the hash's 512 bits and a cell's color by up to 14 of
255. Two effects on one photograph differ in 0 to 204 bits, as the hash does not see brightness and
tint, and in the color of some cell by 44 or more. So both have to agree.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from vap.data.signature import HASH_BITS, ClipSignature

_BAND_BITS = 12
_BANDS = HASH_BITS // _BAND_BITS
_BAND_WEIGHTS = 1 << np.arange(_BAND_BITS)
MAX_DISTANCE = _BANDS - 1
DEFAULT_DISTANCE = 40
COLOUR_DISTANCE = 20


def check_distance(distance: int) -> None:
    """Refuse a distance that :func:`find_duplicates` cannot search."""
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance={distance} is out of range: use 0 to {MAX_DISTANCE} bits.")


def find_duplicates(
    signatures: Sequence[ClipSignature], *, distance: int = DEFAULT_DISTANCE
) -> dict[int, int]:
    """Find the clips that repeat an earlier one.

    Two hashes that differ in fewer bits than there are bands agree in at least one whole band, so
    only clips that share a band are compared, and none is missed.

    Returns:
        For each duplicate's position, that of the original clip.
    """
    check_distance(distance)
    kept: dict[tuple[int, int], list[int]] = defaultdict(list)
    repeats: dict[int, int] = {}
    for index, signature in enumerate(signatures):
        bands = list(enumerate(_bands(signature.bits)))
        sharing = sorted({other for band in bands for other in kept.get(band, ())})
        first = _first_repeated(signature, signatures, sharing, distance)
        if first is not None:
            repeats[index] = first
            continue
        for band in bands:
            kept[band].append(index)
    return repeats


def _bands(bits: npt.NDArray[np.uint8]) -> list[int]:
    """The hash cut into 42 numbers of 12 bits; the last 8 bits are in none."""
    unpacked = np.unpackbits(bits)[: _BANDS * _BAND_BITS]
    return [int(band) for band in unpacked.reshape(_BANDS, _BAND_BITS) @ _BAND_WEIGHTS]


def _first_repeated(
    signature: ClipSignature,
    signatures: Sequence[ClipSignature],
    sharing: Sequence[int],
    distance: int,
) -> int | None:
    """The first of the clips sharing a band that this one repeats, if any."""
    if not sharing:
        return None
    hashes = np.stack([signatures[other].bits for other in sharing])
    differing = np.bitwise_count(hashes ^ signature.bits).sum(axis=1, dtype=np.int64)
    near = (sharing[place] for place in np.flatnonzero(differing <= distance).tolist())
    own = signature.colors.astype(np.int16)
    return next(
        (at for at in near if np.abs(signatures[at].colors - own).max() <= COLOUR_DISTANCE), None
    )
