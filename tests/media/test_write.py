import json
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from tests.media.making import colors, moving
from vap.media import (
    MediaError,
    images,
    probe_clip,
    read_clip,
    read_metadata,
    write,
    write_video,
)
from vap.media.timing import MIN_FPS

CONTAINERS = ["a.mp4", "a.webm", "a.gif", "a"]
METADATA = {"prompt": 'a "quoted" café, 雪', "seed": 7, "nested": [1, None, {"x": 0.5}]}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("fps", [8, 16, 23.976])
def test_frames_rate_and_colors_survive(tmp_path, name, fps):
    frames = moving(13)
    clip = read_clip(write_video(frames, tmp_path / name, fps))
    assert clip.frames.shape == frames.shape
    # GIF counts in 1/100 s: over 13 frames it cannot tell 23.976 from 24.
    assert clip.fps == pytest.approx(fps, abs=0.03 if name == "a.gif" else 1e-4)
    assert not clip.info.variable_rate
    # A GIF has 256 colors for all frames together.
    assert np.abs(colors(clip.frames) - colors(frames)).max() < (12 if name == "a.gif" else 3)
    assert np.abs(clip.frames.astype(int) - frames).mean() < 6


@pytest.mark.parametrize("name", CONTAINERS)
def test_metadata_survives(tmp_path, name):
    path = write_video(moving(2), tmp_path / name, 16, metadata=METADATA)
    assert read_metadata(path) == METADATA
    assert len(read_clip(path).frames) == 2


@pytest.mark.parametrize("name", CONTAINERS)
def test_file_without_metadata_has_none(tmp_path, name):
    assert read_metadata(write_video(moving(2), tmp_path / name, 16)) is None


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_slowest_rate_can_be_written_and_read(tmp_path, name):
    assert probe_clip(write_video(moving(2), tmp_path / name, float(MIN_FPS))).frames == 2


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif"])
def test_same_frames_make_the_same_bytes(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (9, 96, 64, 3), dtype=np.uint8)
    written = {write_video(noise, tmp_path / name, 16, metadata=METADATA).read_bytes()}
    for _ in range(4):
        written.add(write_video(noise, tmp_path / name, 16, metadata=METADATA).read_bytes())
    assert len(written) == 1


def test_png_frames_are_exact_and_know_their_rate(tmp_path):
    path = write_video(moving(3), f"{tmp_path}/frames.v1/", 23.976)
    assert sorted(item.name for item in path.iterdir()) == [
        f"frame_0000{index}.png" for index in range(3)
    ]
    clip = read_clip(path)
    assert (clip.frames == moving(3)).all()
    assert clip.fps == 24000 / 1001


def test_mp4_plays_in_browsers(tmp_path):
    path = write_video(moving(3), tmp_path / "a.mp4", 23.976)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == stream.codec_context.color_primaries == 1
        assert stream.average_rate == Fraction(24000, 1001)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.mp4", (34, 48)), ("a.webm", (33, 47)), ("a.gif", (33, 47))]
)
def test_odd_sizes_lose_nothing(tmp_path, name, expected):
    frames = moving(3, 33, 47)
    clip = read_clip(write_video(frames, tmp_path / name, 16))
    assert clip.frames.shape[1:3] == expected
    assert np.abs(clip.frames[:, :33, :47].astype(int) - frames).mean() < 6


@pytest.mark.parametrize(
    "convert",
    [lambda x: x / 255, lambda x: [Image.fromarray(frame) for frame in x]],
    ids=["floats", "images"],
)
def test_all_kinds_of_frames_write_the_same(tmp_path, convert):
    a = write_video(moving(3), tmp_path / "a.gif", 16).read_bytes()
    assert write_video(convert(moving(3)), tmp_path / "b.gif", 16).read_bytes() == a


def test_fast_gif_is_slowed_to_what_browsers_play(tmp_path, caplog):
    clip = read_clip(write_video(moving(5), tmp_path / "a.gif", 60))
    assert (clip.fps, len(clip.frames)) == (50, 5)
    assert "50 fps" in caplog.text
    assert caplog.messages[-1].endswith(": a.gif")


def test_lower_quality_makes_smaller_files(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), dtype=np.uint8)
    sizes = [
        write_video(noise, tmp_path / "a.mp4", 16, quality=quality).stat().st_size
        for quality in ("high", "balanced", "small")
    ]
    assert sizes[0] > sizes[1] > sizes[2]


class Interrupting:
    """An image that stops the writer after some frames have been encoded."""

    def __init__(self, error):
        self.error = error

    def __call__(self, index):
        if index == 2:
            raise self.error
        return moving(1)[0]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("boom")])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name, error):
    path = write_video(moving(2), tmp_path / name, 16)
    before = read_clip(path).sha256
    broken = images.Frames("broken", 4, 48, 64, Interrupting(error))
    monkeypatch.setattr(write, "as_frames", lambda _: broken)
    with pytest.raises(type(error)):
        write_video([], path, 16)
    assert [item.name for item in tmp_path.iterdir()] == [name]
    assert read_clip(path).sha256 == before


def test_folder_of_frames_is_replaced_as_a_whole(tmp_path):
    write_video(moving(5), tmp_path / "a", 16)
    assert len(read_clip(write_video(moving(2), tmp_path / "a", 16)).frames) == 2


def test_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(MediaError, match=r"thesis\.tex.*new or empty folder"):
        write_video(moving(2), tmp_path, 16)
    assert [item.name for item in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        (np.zeros((2, 4, 4), np.uint8), r"shape is \[2, 4, 4\].*\[T, H, W, 3\]"),
        (np.zeros((2, 4, 4, 3), np.int64), "int64.*uint8"),
        (np.full((2, 4, 4, 3), -1.0), r"-1.*\(x \+ 1\) / 2"),
        (np.full((2, 4, 4, 3), 255.0), "255.*divide by 255"),
        (np.full((2, 4, 4, 3), np.nan), "nan"),
        (np.zeros((0, 4, 4, 3), np.uint8), "no frames"),
        ([], "no frames"),
        ([Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4))], "5x4.*first frame is 4x4"),
        (["a.png"], "str, not a PIL image"),
        ({"frames": 1}, "dict cannot be read"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path, frames, match):
    with pytest.raises(MediaError, match=match):
        write_video(frames, tmp_path / "a.mp4", 16)
    assert not list(tmp_path.iterdir())


def test_unknown_container_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(MediaError, match=r"'\.wmv'.*\.mp4, \.webm, \.gif"):
        write_video(moving(2), tmp_path / "a.wmv", 16)


@pytest.mark.parametrize("metadata", [{"x": float("nan")}, {"x": object()}])
def test_metadata_that_is_no_json_is_refused(tmp_path, metadata):
    with pytest.raises(ValueError, match="JSON"):
        write_video(moving(2), tmp_path / "a.mp4", 16, metadata=metadata)


def test_foreign_comments_are_no_metadata(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.gif", comment=b"made with love")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.gif", comment=json.dumps([1]).encode())
    assert read_metadata(tmp_path / "a.gif") is read_metadata(tmp_path / "b.gif") is None


def test_importing_the_package_imports_no_codecs():
    code = "import sys, vap.media; print(sorted({'av', 'PIL', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
