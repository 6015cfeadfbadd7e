"""What is written where, and what is refused before anything slow happens."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.media.making import moving
from vap.generation.request import (
    GenerationRequest,
    check_folder_place,
    check_inputs_kept,
    check_output,
    check_place,
    check_request,
    places_of,
)
from vap.media import MediaError, read_clip, write_video

BAD = os.fsdecode(b"caf\xe9")  # as file names of old systems come


@pytest.fixture
def clip(tmp_path) -> Path:
    return write_video(moving(2), tmp_path / "clip.mp4", 16)


@pytest.fixture
def frames(tmp_path) -> Path:
    return write_video(moving(2), tmp_path / "frames", 16)


@pytest.fixture
def readonly(monkeypatch) -> set[Path]:
    """Folders that cannot be written to; the superuser of a container may write to all."""
    folders: set[Path] = set()
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) not in folders)
    return folders


def test_inputs_are_every_file_of_a_request():
    request = GenerationRequest(
        Path("a.png"), references=(Path("b.mp4"), Path("c.mp4")), expert=Path("d.safetensors")
    )
    assert [(role, path.name) for role, path in request.inputs] == [
        ("image", "a.png"),
        ("expert", "d.safetensors"),
        ("reference", "b.mp4"),
        ("reference", "c.mp4"),
    ]


def test_an_input_is_not_written_over_under_whatever_name(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.mp4").symlink_to(clip)
    for name in ("clip.mp4", clip, "../" + tmp_path.name + "/clip.mp4", "link.mp4"):
        with pytest.raises(MediaError, match="would overwrite the input"):
            check_inputs_kept([clip], [Path(name)])
    with pytest.raises(MediaError, match="would overwrite the input"):
        check_inputs_kept([tmp_path / "clip.json"], places_of(tmp_path / "clip"))
    check_inputs_kept([clip], places_of("other.mp4", "other.png"))


def test_a_folder_of_frames_and_what_is_in_it_are_inputs_too(frames, tmp_path):
    for path in (frames, frames / "frame_00001.png"):
        with pytest.raises(MediaError, match="would overwrite the input"):
            check_inputs_kept([path], [frames])
    with pytest.raises(MediaError, match="would become a frame of the input"):
        check_inputs_kept([frames], [frames / "sheet.png"])
    check_inputs_kept([frames], places_of(frames / "out.mp4", tmp_path / "sheet.png"))


def test_only_what_the_writer_takes_for_frames_is_replaced(frames):
    check_output(frames)
    (frames / "frame_old.png").write_text("mine")
    for writing in (check_output, lambda place: write_video(moving(2), place, 16)):
        with pytest.raises(MediaError, match="other files than frames"):
            writing(frames)


def test_a_file_is_no_place_for_frames(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(MediaError, match="a file, not a folder"):
        check_output(tmp_path / "notes")


def test_the_current_folder_and_mounts_are_not_replaced(frames, monkeypatch):
    with pytest.raises(MediaError, match=r"cannot be replaced\. Name a new folder in it"):
        check_output("/proc")
    monkeypatch.chdir(frames)
    for writing in (check_output, lambda place: write_video(moving(2), place, 16)):
        with pytest.raises(MediaError, match="the current folder"):
            writing(".")
    assert len(read_clip(frames).frames) == 2


@pytest.mark.parametrize("suffix", [".mp4", ""])
def test_the_longest_name_that_passes_is_written_and_one_more_is_refused(suffix, tmp_path):
    place = tmp_path / ("é" * 123 + "e" * (4 - len(suffix)) + suffix)
    assert len(os.fsencode(place.name)) == 250
    check_output(place)
    for path in places_of(place):
        check_place(path)
    write_video(moving(2), place, 16)
    with pytest.raises(MediaError, match=r"256 bytes are too many for a name.*shorten it by 1"):
        check_output(place.with_name("e" + place.name))
    with pytest.raises(MediaError, match="too many for a name"):
        check_place(tmp_path / ("e" * 300) / "out.mp4")


@pytest.mark.parametrize("taken", ["out.mp4.json", "sheet.png"])
def test_a_folder_where_a_file_is_written_is_refused(taken, tmp_path):
    (tmp_path / taken).mkdir()
    with pytest.raises(MediaError, match="it is a folder, not a file"):
        check_output(tmp_path / "out.mp4", tmp_path / "sheet.png")


def test_a_folder_to_write_in_must_be_writable_itself(tmp_path, readonly):
    readonly.add(tmp_path)
    (tmp_path / "there").mkdir()
    check_folder_place(tmp_path / "there")
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_folder_place(tmp_path / "new")
    readonly.add(tmp_path / "there")
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_folder_place(tmp_path / "there")


def test_a_link_to_a_folder_is_written_to_where_it_leads(frames, tmp_path, readonly):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "frames"
    link.symlink_to(frames)
    check_output(link)
    readonly.add(tmp_path)
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_output(link)


def test_texts_and_names_that_are_no_utf8_are_refused(clip, tmp_path):
    Image.fromarray(moving(1)[0]).save(tmp_path / "image.png")
    request = GenerationRequest(tmp_path / "image.png", references=(clip,))
    check_request(request)
    for change in ({"prompt": BAD}, {"negative_prompt": BAD}, {"reference_prompts": (BAD,)}):
        with pytest.raises(ValueError, match="is not UTF-8") as error:
            check_request(dataclasses.replace(request, **change))
        assert str(error.value).isascii()
    folder = tmp_path / BAD
    folder.mkdir()
    for path in (clip.rename(folder / "clip.mp4"), Path(os.fsdecode(b"\xff.mp4"))):
        with pytest.raises(MediaError, match=r"its name is not UTF-8.*Rename it"):
            check_request(dataclasses.replace(request, references=(path,)))
    for place in (tmp_path / f"{BAD}.mp4", tmp_path / BAD):
        with pytest.raises(MediaError, match="its name is not UTF-8"):
            check_output(place)


def test_a_removed_current_folder_does_not_hinder(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from vap.media.write import check_frames_folder;"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone');"
        "check_frames_folder(Path(sys.argv[1]))"
    )
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    subprocess.run(command, cwd=tmp_path, check=True)
