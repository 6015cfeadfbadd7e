"""Files that appear whole or not at all."""

import os

import pytest

from vap.media import MediaError
from vap.media.atomic import atomic_file, atomic_folder, check_makeable


def write(path, text="whole") -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text)


def test_a_file_has_the_usual_permissions_whoever_wrote_it(tmp_path) -> None:
    (tmp_path / "plain").touch()
    with atomic_file(tmp_path / "whole") as temporary:
        # As writers do that make a private file of their own and rename it.
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_names_may_be_as_long_as_the_system_allows(tmp_path) -> None:
    for name in ("é" * 125 + ".json", "e" * 255, "e." + "x" * 253):
        with atomic_file(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
        (tmp_path / name).unlink()
        with atomic_folder(tmp_path / name, lambda _: True) as folder:
            (folder / "a").touch()
        assert (tmp_path / name / "a").exists()


def test_a_link_to_a_folder_stays_and_its_folder_is_replaced(tmp_path) -> None:
    for folder in ("real", "links"):
        (tmp_path / folder).mkdir()
    (tmp_path / "real" / "old").touch()
    link = tmp_path / "links" / "link"
    link.symlink_to(tmp_path / "real")
    with atomic_folder(link, lambda _: True) as temporary:
        (temporary / "new").touch()
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
    assert [path.name for path in (tmp_path / "links").iterdir()] == ["link"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["links", "real"]


def test_a_link_to_a_file_stays_and_its_file_is_replaced(tmp_path) -> None:
    (tmp_path / "real").mkdir()
    for name in ("there", "missing"):
        link = tmp_path / f"{name}.txt"
        link.symlink_to(tmp_path / "real" / name)
    (tmp_path / "real" / "there").write_text("old")
    for name in ("there", "missing"):
        write(tmp_path / f"{name}.txt")
        assert (tmp_path / f"{name}.txt").is_symlink()
        assert (tmp_path / "real" / name).read_text() == "whole"
    assert len(list((tmp_path / "real").iterdir())) == 2


@pytest.mark.parametrize("name", ["pipe.json", "link.json"])
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path, name) -> None:
    pipe, link = tmp_path / "pipe.json", tmp_path / "link.json"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(tmp_path / name)
        assert os.read(reader, 100) == b"whole"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("place", ["a.txt/b.txt", "a.txt/b/c.txt", f"{'x' * 300}.txt", "loop"])
def test_impossible_places_are_refused_in_words_for_people(tmp_path, place) -> None:
    (tmp_path / "a.txt").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    path = tmp_path / place
    said = "too long" if "xxx" in place else "symbolic links" if place == "loop" else "not a folder"
    with pytest.raises(MediaError, match=said) as caught:
        write(path)
    assert "Errno" not in str(caught.value)
    with pytest.raises(MediaError, match=said), atomic_folder(path, lambda _: True):
        pass
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.txt", "loop"]


def test_a_folder_can_be_made_below_what_is_there_but_not_below_a_file(tmp_path) -> None:
    (tmp_path / "file").touch()
    check_makeable(tmp_path)
    check_makeable(tmp_path / "a" / "b")
    for place in ("file", "file/a/b"):
        with pytest.raises(MediaError, match="file: it is a file, not a folder"):
            check_makeable(tmp_path / place)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_closed_to_us_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MediaError, match="cannot be written to"):
        check_makeable(tmp_path / "a")
