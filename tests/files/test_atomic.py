"""Files that appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vap.files.atomic import atomic_file, atomic_folder, check_makeable
from vap.media import MediaError


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


KILLED = """
import os, sys
from pathlib import Path
from vap.files.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as temporary:
    temporary.with_name(".tmpa1B2c3").write_text("of the writer's own")
    os._exit(9)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one(tmp_path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a.txt")]
    assert subprocess.run(command, check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    (tmp_path / ".hidden").mkdir()
    alive = tmp_path / left.name.replace(left.name.split("-")[2], str(os.getppid()))
    alive.mkdir()
    elsewhere, long_ago = (tmp_path / f".vap-{'0' * 8}-1-{number}" for number in ("1" * 8, "2" * 8))
    for folder in (elsewhere, long_ago):
        folder.mkdir()
    os.utime(long_ago, (0, 0))
    # It is still in there what the killed process was about to replace.
    moment = tmp_path / left.name.replace(left.name[-8:], "0" * 8)
    (moment / "old").mkdir(parents=True)
    write(tmp_path / "b.txt")
    kept = {tmp_path / "b.txt", tmp_path / ".hidden", alive, elsewhere, moment}
    assert set(tmp_path.iterdir()) == kept


@pytest.mark.parametrize("wanted", ["whole", "broken"])
def test_a_folder_is_replaced_whole_and_its_old_one_goes(tmp_path, wanted, monkeypatch) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "old").touch()
    rename, calls = Path.rename, []

    def second_fails(self, target):
        calls.append(target)
        if wanted == "broken" and len(calls) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    try:
        with atomic_folder(tmp_path / "frames", lambda _: True) as temporary:
            (temporary / "whole").touch()
    except KeyboardInterrupt:
        pass
    name = "old" if wanted == "broken" else "whole"
    assert [item.name for item in (tmp_path / "frames").iterdir()] == [name]
    assert [item.name for item in tmp_path.iterdir()] == ["frames"]
