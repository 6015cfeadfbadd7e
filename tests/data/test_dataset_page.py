from __future__ import annotations

import re

import pytest
from hypothesis import given, settings

from tests.data.clips_on_disk import made_clip
from tests.data.rows import CLIPS, clip
from vap.data.dataset_page import ShownClips, render_page, write_page


def rendered(*rows, per_condition=2):
    return render_page(rows, title="Set", per_condition=per_condition, source=lambda _: None)


@settings(max_examples=40, deadline=None)
@given(row=CLIPS)
def test_no_text_of_a_dataset_becomes_markup(row):
    page = rendered(row)
    tags = re.findall(r"<[a-z!/]", page)
    assert tags == re.findall(r"<[a-z!/]", rendered(clip("a", split=row.split or "train")))


def test_hostile_captions_and_slots_stay_text():
    page = rendered(clip("a.mp4", caption='<script>alert(1)</script>"{{script}}'))
    assert "<script>alert" not in page
    assert "{{script}}" in page
    assert page.count("<script>") == 1


def test_samples_run_from_the_best_score_to_the_worst():
    rows = [clip(f"{score:.0f}.mp4", score=score) for score in (10.0, 90.0, 50.0, 30.0, 70.0)]
    shown = re.findall(r'data-score="(\d+)" data-text', rendered(*rows, per_condition=3))
    assert shown == ["90", "50", "10"]


def test_linked_pages_refer_to_clips_relative_to_themselves(tmp_path):
    made_clip(tmp_path / "set" / "a b#1.mp4")
    rows = [clip("a b#1.mp4"), clip("gone.mp4")]
    found = write_page(rows, tmp_path / "pages" / "page.html", root=tmp_path / "set")
    assert found == ShownClips(shown=1, missing=1, unreadable=0)
    page = (tmp_path / "pages" / "page.html").read_text(encoding="utf-8")
    assert 'src="../set/a%20b%231.mp4"' in page
    assert page.count("<video") == 1
    assert "no file" in page


def test_embedded_pages_need_nothing_else(tmp_path):
    made_clip(tmp_path / "a.mp4")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    rows = [clip("a.mp4"), clip("bad.mp4")]
    found = write_page(rows, tmp_path / "page.html", root=tmp_path, samples="embedded")
    assert found == ShownClips(shown=1, missing=0, unreadable=1)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('src="data:video/mp4;base64,') == page.count("src=") == 1
    assert "href=" not in page
    assert "https:" not in page
    assert "http:" not in page


def test_a_page_none_of_whose_clips_is_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"such as gone\.mp4.*--root"):
        write_page([clip("gone.mp4")], tmp_path / "page.html", root=tmp_path)
    assert not (tmp_path / "page.html").exists()


def test_a_page_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="per_condition=0"):
        write_page([], tmp_path / "page.html", root=tmp_path, per_condition=0)
