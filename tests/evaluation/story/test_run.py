import pytest

from tests.cli.running import COGVIDEOX
from vap.evaluation.story.run import Story, tell


def test_a_story_is_a_page_with_its_pictures(tiny, tmp_path):
    told = []
    story = Story(str(tiny), conditions=("sepia", "invert"))
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
