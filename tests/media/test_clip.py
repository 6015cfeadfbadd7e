import hashlib
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from tests.media.making import animate, colors, encode, flat, moving
from vap.media import MediaError, MediaLimits, probe_clip, read_clip, select_frames
from vap.media import video as video_module


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("clip") / "clip.mp4", moving(16))


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotated_video_comes_out_upright(tmp_path, turn):
    upright = moving(3)
    stored = np.rot90(upright, k=-turn // 90, axes=(1, 2))  # clockwise, as a turned camera stores
    path = encode(tmp_path / "a.mp4", np.ascontiguousarray(stored), rotation=turn)
    clip = read_clip(path)
    assert clip.frames.shape == upright.shape
    assert (clip.info.height, clip.info.width) == upright.shape[1:3]
    assert np.abs(clip.frames.astype(int) - upright).mean() < 6


def test_wide_pixels_are_widened(tmp_path):
    path = encode(tmp_path / "a.mp4", moving(3, 48, 64), aspect=Fraction(3, 2))
    assert read_clip(path).frames.shape == (3, 48, 96, 3)


def test_variable_rate_is_resampled_by_presentation_time(tmp_path):
    # Milliseconds: the second frame stays for three slots of 100 ms.
    frames, times = flat(0, 80, 160, 240), [0, 100, 400, 500]
    path = encode(tmp_path / "a.mkv", frames, times=times, tick=Fraction(1, 1000))
    clip = read_clip(path)
    assert clip.info.variable_rate
    assert clip.fps == 10
    assert np.rint(colors(clip.frames)[:, 0] / 80).tolist() == [0, 1, 1, 1, 2, 3]


def test_other_rate_keeps_the_length(video):
    clip = read_clip(video, fps=8)
    assert clip.info.frames == 8
    assert np.abs(colors(clip.frames) - colors(read_clip(video).frames)[1::2]).max() < 1


@pytest.mark.parametrize(
    ("suffix", "options"), [(".gif", {"disposal": 2}), (".png", {}), (".webp", {"lossless": True})]
)
def test_animated_images_keep_their_delays(tmp_path, suffix, options):
    images = [Image.fromarray(frame) for frame in flat(0, 80, 160, 240)]
    path = animate(tmp_path / f"a{suffix}", images, [100, 300, 100, 100], **options)
    clip = read_clip(path)
    assert clip.fps == 10
    assert colors(clip.frames)[:, 0].tolist() == [0, 80, 80, 80, 160, 240]


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_turned_animation_comes_out_whole(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation  # 3: stored upside down; 6: show it turned clockwise
    upright = moving(3)
    stored = np.rot90(upright, k={3: 2, 6: 1}[orientation], axes=(1, 2))
    images = [Image.fromarray(frame) for frame in stored]
    path = animate(tmp_path / "a.webp", images, [100] * 3, lossless=True, exif=exif)
    clip = read_clip(path)
    assert (clip.info.height, clip.info.width) == upright.shape[1:3]
    assert (clip.frames == upright).all()


@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".webp", {"lossless": True})])
def test_transparency_is_laid_on_white(tmp_path, suffix, options):
    images = [
        Image.fromarray(np.full((8, 8, 4), (level, 0, 0, 128), np.uint8)) for level in (0, 200)
    ]
    path = animate(tmp_path / f"a{suffix}", images, [100, 100], **options)
    assert colors(read_clip(path).frames).round().tolist() == [[127, 127, 127], [227, 127, 127]]


def test_transparent_video_is_laid_on_white(tmp_path):
    frames = np.full((2, 32, 32, 4), (255, 0, 0, 0), np.uint8)
    path = encode(tmp_path / "a.mov", frames, "qtrle", "argb", pixel_format="rgba")
    assert (read_clip(path).frames == 255).all()


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_transparent_webm_is_laid_on_white(tmp_path, codec):
    frames = np.full((9, 32, 32, 4), (255, 0, 0, 0), np.uint8)
    frames[:, :, :16, 3] = 255
    options = {"auto-alt-ref": "0", "crf": "10", "b": "1M"}
    path = encode(
        tmp_path / "a.webm", frames, codec, "yuva420p", pixel_format="rgba", options=options
    )
    found = read_clip(path).frames.astype(int)
    assert len(found) == 9
    assert np.abs(found[:, :, :12] - (255, 0, 0)).max() < 12
    assert (found[:, :, 20:] > 250).all()


def test_transparent_webm_is_still_read_where_its_library_is_missing(tmp_path, monkeypatch):
    frames = np.full((3, 32, 32, 4), (255, 0, 0, 255), np.uint8)
    options = {"auto-alt-ref": "0"}
    path = encode(
        tmp_path / "a.webm", frames, "libvpx-vp9", "yuva420p", pixel_format="rgba", options=options
    )
    monkeypatch.setattr(video_module, "_WITH_ALPHA", {"vp9": "libvpx-of-nobody"})
    assert len(read_clip(path).frames) == 3


def test_grey_video_is_grey_rgb(tmp_path):
    path = encode(tmp_path / "a.mkv", flat(50, 200), "ffv1", "gray")
    assert colors(read_clip(path).frames).round().tolist() == [[50] * 3, [200] * 3]


def test_ten_bit_video_keeps_its_colors(tmp_path):
    frames = moving(3)
    path = encode(tmp_path / "a.mkv", frames, "ffv1", "yuv444p10le")
    assert np.abs(read_clip(path).frames.astype(int) - frames).max() <= 2


def test_odd_sizes_are_kept(tmp_path):
    frames = moving(3, 33, 47)
    path = encode(tmp_path / "a.mkv", frames, "ffv1", "yuv444p")
    assert read_clip(path).frames.shape == frames.shape


def test_avi_without_presentation_times_is_in_order(tmp_path):
    frames = flat(*range(0, 250, 25))
    clip = read_clip(encode(tmp_path / "a.avi", frames))
    assert np.abs(colors(clip.frames)[:, 0] - np.arange(0, 250, 25)).max() < 3


def test_folder_is_read_in_natural_order(tmp_path):
    for index in (10, 9, 100):
        Image.fromarray(flat(index)[0]).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / "._frame9.png").write_bytes(b"what macOS notes of a frame")
    clip = read_clip(tmp_path, fps=8)
    assert colors(clip.frames)[:, 0].tolist() == [9, 10, 100]
    assert clip.fps == 8


FRAMES = moving(3, 6, 8)
FIRST = np.moveaxis(FRAMES, 3, 1)


@pytest.mark.parametrize(
    "source",
    [
        FRAMES,
        FIRST,
        FRAMES / 255,
        torch.from_numpy(FRAMES),
        torch.from_numpy(FIRST.copy()),
        torch.from_numpy(FIRST / np.float32(255)),
        [Image.fromarray(frame) for frame in FRAMES],
    ],
    ids=["array", "array CHW", "floats", "tensor", "tensor CHW", "float tensor", "images"],
)
def test_frames_in_memory_are_read_as_they_are(source):
    clip = read_clip(source)
    assert (clip.frames == FRAMES).all()
    assert clip.fps == 16
    assert clip.sha256 == read_clip(FRAMES).sha256


def test_bfloat16_tensor_is_read():
    clip = read_clip(torch.ones(2, 3, 4, 4, dtype=torch.bfloat16))
    assert (clip.frames == 255).all()


def test_digest_of_a_file_is_that_of_its_bytes(video):
    assert read_clip(video).sha256 == hashlib.sha256(video.read_bytes()).hexdigest()


def test_probe_says_what_would_be_read(video):
    info, clip = probe_clip(video), read_clip(video)
    assert info == clip.info
    assert (info.frames, info.fps, info.seconds) == (16, 16.0, 1.0)


def test_chosen_frames_come_in_the_order_asked_for(video):
    everything = read_clip(video).frames
    chosen = read_clip(video, frame_indices=[5, 0, 15, 5]).frames
    assert (chosen == everything[[5, 0, 15, 5]]).all()


def test_frames_can_be_chosen_by_their_number(video):
    clip = read_clip(video, frame_indices=lambda count: select_frames(count, 4))
    assert (clip.frames == read_clip(video).frames[[0, 5, 10, 15]]).all()
    assert read_clip(video, max_frames=3).frames.shape[0] == 3


def test_cover_crops_the_center_and_stretch_does_not():
    frames = np.zeros((2, 32, 96, 3), np.uint8)
    frames[:, :, :32], frames[:, :, 64:] = 255, 255
    assert read_clip(frames, size=(32, 32)).frames.max() == 0
    assert read_clip(frames, size=(32, 32), fit="stretch").frames[:, :, [0, -1]].min() > 250


def test_only_what_is_asked_for_counts_against_the_total():
    limits = MediaLimits(total_pixels=48 * 64 * 2)
    with pytest.raises(MediaError, match=r"9 frames of 64x48 .*max_frames.*size"):
        read_clip(moving(9), limits=limits)
    assert len(read_clip(moving(9), limits=limits, max_frames=2).frames) == 2
    assert len(read_clip(moving(9), limits=limits, size=(12, 16)).frames) == 9


def test_frames_beyond_the_end_are_refused(video):
    with pytest.raises(MediaError, match=r"no frame 16\. Its frames are 0 to 15"):
        read_clip(video, frame_indices=[0, 16])


@pytest.mark.parametrize("argument", [{"max_frames": 0}, {"size": (0, 4)}, {"fps": 0}])
def test_arguments_out_of_range_are_refused(argument):
    with pytest.raises(ValueError, match="0"):
        read_clip(FRAMES, **argument)
