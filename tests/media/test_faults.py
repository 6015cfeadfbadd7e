"""Whose fault a failed read is: the machine's, which passes, or the file's, which stays."""

import errno
import os

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tests.media.making import moving
from vap.media import MachineError, MediaError, read_clip, read_image, write_video
from vap.media.files import hash_file

PICTURE = Image.fromarray(moving(1)[0])


@pytest.fixture
def short_of_memory(monkeypatch):
    monkeypatch.setattr("vap.files.errors.memory_is_short", lambda: True)


@pytest.mark.parametrize("code", [errno.ENOMEM, errno.EAGAIN])
def test_a_decoder_that_runs_short_is_the_machines_fault(
    tmp_path, monkeypatch, short_of_memory, code
):
    path = write_video(moving(3), tmp_path / "a.mp4", 16)

    def short(*args, **kwargs):
        raise av.error.classes[code](code, os.strerror(code))

    monkeypatch.setattr(av, "open", short)
    with pytest.raises(MachineError, match=r"a\.mp4"):
        read_clip(path)


@pytest.mark.parametrize("error", [MemoryError(), OSError("out of memory error when reading")])
def test_an_image_that_memory_is_short_for_is_the_machines_fault(
    tmp_path, monkeypatch, short_of_memory, error
):
    PICTURE.save(tmp_path / "a.png")

    def short(*args, **kwargs):
        raise error

    monkeypatch.setattr(Image.Image, "convert", short)
    with pytest.raises(MachineError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("error", [ValueError, NotImplementedError, OverflowError])
def test_what_pyav_cannot_do_with_a_file_is_the_files_fault(tmp_path, monkeypatch, error):
    path = write_video(moving(3), tmp_path / "a.mp4", 16)

    def odd(*args, **kwargs):
        raise error("YUV conversion")

    monkeypatch.setattr("vap.media.video.av.open", odd)
    with pytest.raises(MediaError, match=r"a\.mp4.*YUV conversion"):
        read_clip(path)


@pytest.mark.parametrize("name", ["0.png", "1.png"])
def test_a_pipe_among_frames_is_refused_and_not_waited_for(tmp_path, name):
    for place in ("0.png", "1.png", "2.png"):
        if place == name:
            os.mkfifo(tmp_path / place)
        else:
            PICTURE.save(tmp_path / place)
    with pytest.raises(MediaError, match=rf"{name}.*not a regular file"):
        read_clip(tmp_path)
    with pytest.raises(MediaError, match=rf"{name}.*not a regular file"):
        hash_file(tmp_path / name)


@pytest.mark.parametrize("rate", ["1e9999", "1e30000000", "9" * 400, "1/0", "-5", "nan", "\u0663"])
def test_a_rate_note_of_any_text_is_refused(tmp_path, rate):
    notes = PngImagePlugin.PngInfo()
    notes.add_text("fps", rate)
    for index in range(2):
        PICTURE.save(tmp_path / f"{index}.png", pnginfo=notes)
    with pytest.raises(MediaError, match="frame rate"):
        read_clip(tmp_path)
    assert read_clip(tmp_path, fps=8).fps == 8


@pytest.mark.parametrize("fps", [10**400, float("nan"), float("inf"), -(10**400)])
def test_a_rate_of_any_size_is_refused(fps):
    with pytest.raises(ValueError, match="not a frame rate"):
        read_clip(np.zeros((2, 8, 8, 3), np.uint8), fps=fps)


def test_links_in_a_circle_are_refused(tmp_path):
    for name in ("a", "a.mp4", "a.png"):
        (tmp_path / name).symlink_to(name)
    for read, name in ((read_clip, "a"), (read_clip, "a.mp4"), (read_image, "a.png")):
        with pytest.raises(MediaError, match=name):
            read(tmp_path / name)
    for name in ("a", "a.mp4"):
        with pytest.raises(MediaError, match=name):
            write_video(moving(2), tmp_path / name, 16)


def test_a_file_that_asks_for_more_than_there_is_is_at_fault_itself(tmp_path, monkeypatch):
    path = write_video(moving(3), tmp_path / "a.mp4", 16)

    def absurd(*args, **kwargs):
        raise av.error.classes[errno.ENOMEM](errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(av, "open", absurd)
    monkeypatch.setattr("vap.files.errors.memory_is_short", lambda: False)
    with pytest.raises(MediaError, match=r"a\.mp4"):
        read_clip(path)
