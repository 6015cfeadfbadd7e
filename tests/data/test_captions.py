from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.clips_on_disk import inspected, made_clip
from vap.data.captions import RememberingCaptioner, SidecarCaptioner, TemplateCaptioner


@pytest.fixture
def clip(tmp_path):
    return inspected(made_clip(tmp_path / "red_car-1.mp4"), condition="ice_cube")


def test_a_sidecar_gives_its_text_on_one_line(clip):
    clip.path.with_suffix(".txt").write_text("A red car\n  turns into ice. ", encoding="utf-8")
    assert SidecarCaptioner().caption(clip) == "A red car turns into ice."


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "missing"), (b" \n", "is empty"), (b"\xff\xfe\xff", "cannot be read")],
)
def test_a_sidecar_that_says_nothing_is_named(clip, content, reason):
    if content is not None:
        clip.path.with_suffix(".txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"red_car-1.txt.* {reason}"):
        SidecarCaptioner().caption(clip)


def test_a_template_is_filled_with_the_names_as_words(clip):
    assert (
        TemplateCaptioner("{name} as {condition} {{x}}").caption(clip)
        == "red car 1 as ice cube {x}"
    )


def test_captions_once_made_are_kept_beside_the_clip(clip):
    first = RememberingCaptioner(TemplateCaptioner("first")).caption(clip)
    again = RememberingCaptioner(TemplateCaptioner("second")).caption(clip)
    assert first == again == SidecarCaptioner().caption(clip) == "first"


@pytest.mark.parametrize("template", ["{path}", "{}", "{name.__class__}", "{name", "{name:d}"])
def test_templates_with_anything_else_are_refused(template):
    with pytest.raises(ValueError, match=r"caption template .* may hold {name} and {condition}"):
        TemplateCaptioner(template)


@given(template=st.text() | st.text("{}name:!r0.[]"))
def test_arbitrary_templates_are_taken_or_refused(template):
    with suppress(ValueError):
        assert TemplateCaptioner(template).template == template
