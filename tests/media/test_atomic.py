"""Files that appear whole or not at all."""

from vap.media.atomic import atomic_file, atomic_folder


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
