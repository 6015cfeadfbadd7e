from pathlib import Path

import pytest

from tests.cli.running import COGVIDEOX
from vap.media import MediaError
from vap.mini.story.tell import Story, tell


@pytest.mark.slow
def test_a_story_is_a_page_with_its_pictures(tiny, tmp_path):
    told = []
    story = Story(str(tiny), conditions=("sepia", "invert"))
    (tmp_path / "notes.txt").touch()
    written = tell(story, tmp_path, lambda *counts: told.append(counts))
    panels = {
        "references-by-images",
        "one-image",
        "one-reference",
        "strength",
        "guidance",
        "two-references",
    }
    assert {path.name for path in written} == {
        "index.html", "references-by-images.png", *(f"{panel}.webp" for panel in panels),
    }  # fmt: skip
    assert told == [(done, len(panels)) for done in range(1, len(panels) + 1)]
    assert all(f'src="{panel}.webp"' in (tmp_path / "index.html").read_text() for panel in panels)


def test_what_cannot_be_told_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="at least 2"):
        tell(Story(str(tiny), conditions=("sepia",)), tmp_path)
    with pytest.raises(ValueError, match="takes Wan"):
        tell(Story(str(COGVIDEOX)), tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": (Path("missing.png"),)}, "missing.png: there is no such file"),
        ({"images": (Path(__file__),)}, "not an image"),
        ({"images": (Path("missing.png"),) * 12}, "12 are too many"),
        ({"steps": 0}, "steps=0"),
        ({"conditions": ("sepia", "sepai")}, "sepai"),
    ],
)
def test_wrong_choices_are_refused_before_a_model_is_loaded(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        tell(Story("no-such-model", **given), tmp_path / "story")
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_place_of_the_folder_is_refused_before_a_model_is_loaded(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="not a folder"):
        tell(Story("no-such-model"), tmp_path / "file")
