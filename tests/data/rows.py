"""Rows and tables that the tests of this folder share."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from vap.data.rows import ClipRow

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
NAMES = TEXT.filter(lambda text: text.strip())
PATHS = NAMES.filter(lambda text: not set(text) & set("/\\:\0") and text not in {".", ".."})


def clip(video: str, condition: str = "melt", score: float = 50.0, **changes: object) -> ClipRow:
    row = ClipRow(video, (), f"caption of {video}", condition, "train", score)
    return replace(row, **changes)


CLIPS = st.builds(
    ClipRow,
    video=PATHS,
    references=st.lists(PATHS, max_size=3).map(tuple),
    caption=TEXT,
    condition=NAMES,
    split=NAMES,
    score=st.floats(0, 100),
    valid=st.none() | st.floats(allow_nan=False, allow_infinity=False),
)
