"""Files that appear whole or not at all."""

from vap.media.atomic import atomic_file


def test_a_file_has_the_usual_permissions_whoever_wrote_it(tmp_path) -> None:
    (tmp_path / "plain").touch()
    with atomic_file(tmp_path / "whole") as temporary:
        # As writers do that make a private file of their own and rename it.
        temporary.unlink()
        temporary.touch(mode=0o600)
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode
