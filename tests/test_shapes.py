"""Arithmetic between pixels, latents and tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.shapes import Compression, LatentShape, PixelShape

RELEASED = Compression(temporal=4, spatial=8, patch=(1, 2, 2))

compressions = st.builds(
    Compression,
    temporal=st.integers(1, 8),
    spatial=st.integers(1, 16),
    patch=st.tuples(st.integers(1, 2), st.integers(1, 4), st.integers(1, 4)),
)


def fitting(compression: Compression, frames: int, rows: int, columns: int) -> PixelShape:
    return PixelShape(
        1 + compression.temporal * frames,
        rows * compression.spatial * compression.patch[1],
        columns * compression.spatial * compression.patch[2],
    )


@pytest.mark.parametrize(
    ("shape", "latent", "tokens"),
    [
        (PixelShape(49, 480, 832), LatentShape(16, 13, 60, 104), 20_280),
        (PixelShape(49, 480, 720), LatentShape(16, 13, 60, 90), 17_550),
        (PixelShape(1, 16, 16), LatentShape(16, 1, 2, 2), 1),
    ],
)
def test_released_sizes(shape: PixelShape, latent: LatentShape, tokens: int) -> None:
    assert RELEASED.latent(shape, channels=16) == latent
    assert RELEASED.tokens(shape) == tokens


@pytest.mark.parametrize("size", [(99999999997, 48, 64), (9, 10**400, 64), (9, 48, 16_400)])
def test_sizes_beyond_any_video_are_refused(size) -> None:
    with pytest.raises(ValueError, match="at most 20000 frames of 16384"):
        PixelShape(*size)


def test_patches_in_time_round_up() -> None:
    paired = Compression(temporal=4, spatial=8, patch=(2, 2, 2))
    assert paired.tokens(PixelShape(9, 16, 32)) == 2 * 1 * 2


@given(compressions, st.integers(0, 20), st.integers(1, 20), st.integers(1, 20))
def test_sizes_of_whole_tokens_are_accepted(
    compression: Compression, frames: int, rows: int, columns: int
) -> None:
    shape = fitting(compression, frames, rows, columns)
    latent = compression.latent(shape, channels=3)
    assert latent.frames == frames + 1
    assert latent.height * compression.spatial == shape.height
    assert latent.width * compression.spatial == shape.width
    assert compression.tokens(shape) == -(-(frames + 1) // compression.patch[0]) * rows * columns


@given(compressions, st.integers(-5, 100), st.integers(-5, 300), st.integers(-5, 300))
def test_any_size_is_accepted_or_answered_with_one_that_is(
    compression: Compression, frames: int, height: int, width: int
) -> None:
    shape = PixelShape(frames, height, width)
    try:
        compression.check(shape)
    except ValueError as error:
        advice = str(error).rpartition("Use ")[2].rstrip(".")
        named = dict(part.split("=") for part in advice.split(", "))
        if "num_frames" in named:
            better = PixelShape(int(named["num_frames"]), *whole(compression))
        else:
            better = PixelShape(1, int(named["height"]), int(named["width"]))
        compression.check(better)
        assert better != shape
    else:
        assert compression.tokens(shape) >= 1


def whole(compression: Compression) -> tuple[int, int]:
    shape = fitting(compression, 0, 1, 1)
    return shape.height, shape.width


def test_pixels_of_a_clip() -> None:
    assert PixelShape(2, 3, 5).pixels == 30
