from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.media import read_clip, read_image
from vap.serving.uploads.check import RefusedUploadError, decode_files
from vap.serving.uploads.decode import WantedFrames, WantedImage
from vap.serving.uploads.probe import ProbeLimits

LIMITS = ProbeLimits(seconds=10, pixels=1_000_000, memory=1 << 30, time=20)


def test_another_process_decodes_the_same_pixels(samples: SimpleNamespace) -> None:
    image, clip = decode_files(
        [WantedImage(samples.image), WantedFrames(samples.video, 3, (16, 24))], LIMITS
    )
    assert (image == np.asarray(read_image(samples.image))).all()
    assert (clip == read_clip(samples.video, size=(16, 24), frame_indices=[0, 2, 4]).frames).all()


def test_what_is_damaged_or_too_large_is_refused(samples: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(RefusedUploadError, match="allowed"):
        decode_files([WantedImage(samples.image)], ProbeLimits(10, 1000, 1 << 30, 20))
    broken = tmp_path / "broken"
    broken.write_bytes(samples.video.read_bytes()[:500])
    with pytest.raises(RefusedUploadError) as refused:
        decode_files([WantedFrames(broken, 2, (16, 16))], LIMITS)
    assert str(tmp_path) not in str(refused.value)
    with pytest.raises(RefusedUploadError):
        decode_files([WantedImage(samples.image), WantedImage(broken)], LIMITS)


@pytest.mark.slow
def test_a_decoder_that_takes_too_much_ends_alone(samples: SimpleNamespace) -> None:
    wanted = [WantedFrames(samples.video, 100, (2000, 2000))]
    with pytest.raises(RefusedUploadError):
        decode_files(wanted, ProbeLimits(10, 1_000_000, 400 << 20, 20))


def test_a_part_is_the_frames_between_two_times() -> None:
    part = WantedFrames(Path("x"), 3, (8, 8), 1.0, 2.0)
    assert part.indices(40, 10.0) == [10, 14, 19]
    assert WantedFrames(Path("x"), 2, (8, 8), 3.99).indices(40, 10.0) == [38, 39]


@given(
    st.integers(2, 10_000),
    st.floats(1, 240),
    st.integers(1, 100),
    st.none() | st.floats(0, 1e5),
    st.none() | st.floats(0, 1e5),
)
def test_any_part_is_of_frames_that_are_there(available, fps, count, start, end) -> None:
    indices = WantedFrames(Path("x"), count, (8, 8), start, end).indices(available, fps)
    assert len(indices) == count
    assert 0 <= indices[0] <= indices[-1] < available
    assert indices == sorted(indices)
