from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.clips_on_disk import inspected, made_clip
from vap.data import captions
from vap.data.build import BuildRules, build_table
from vap.data.captions import RememberingCaptioner, SidecarCaptioner, TemplateCaptioner
from vap.data.judge import ConstantJudge
from vap.files.errors import refusal


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


def test_captions_that_cannot_be_kept_end_a_build_at_the_first(tmp_path, monkeypatch):
    def full(path):
        raise refusal(path, "it cannot be written (Read-only file system)", "Choose another place.")

    class Slow:
        asked = 0

        def caption(self, clip):  # noqa: ARG002 - the protocol's
            self.asked += 1
            return "a clip"

    monkeypatch.setattr(captions, "atomic_file", full)
    for seed in range(2):
        made_clip(tmp_path / "melt" / f"{seed}.mp4", seed=seed)
    captioner = Slow()
    with pytest.raises(OSError, match=r"0\.txt: it cannot be written.*leave out --keep-captions"):
        build_table(tmp_path, RememberingCaptioner(captioner), ConstantJudge(), BuildRules())
    assert captioner.asked == 1


@pytest.mark.parametrize("template", ["{path}", "{}", "{name.__class__}", "{name", "{name:d}"])
def test_templates_with_anything_else_are_refused(template):
    with pytest.raises(ValueError, match=r"caption template .*{name} and {condition}"):
        TemplateCaptioner(template)


@given(template=st.text() | st.text("{}name:!r0.[]"))
def test_arbitrary_templates_are_taken_or_refused(template):
    with suppress(ValueError):
        assert TemplateCaptioner(template).template == template
