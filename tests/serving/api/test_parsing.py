import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import FormData

from vap.serving.api.body import from_form, parse_json
from vap.serving.api.content import range_of
from vap.serving.api.errors import ApiError

NAMES = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"[ab](\[\]|\[[ab]\]|\[\]\[[ab]\])?", fullmatch=True),
    st.sampled_from(["references", "prompt", "references[]", "references[][effect]"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_object_or_an_error(text: bytes) -> None:
    try:
        assert isinstance(parse_json(text), dict)
    except ApiError:
        return


@given(st.lists(st.tuples(NAMES, st.text(max_size=8)), max_size=8))
def test_any_form_is_fields_or_an_error(pairs: list[tuple[str, str]]) -> None:
    try:
        body = from_form(FormData(pairs))
    except ApiError:
        return
    assert not body.files
    json.dumps(body.fields)


@given(st.text(max_size=20) | st.from_regex(r"bytes=\d*-\d*", fullmatch=True), st.integers(0, 99))
def test_any_range_is_inside_the_file(asked: str, size: int) -> None:
    try:
        part = range_of(asked, size)
    except ApiError:
        return
    assert part is None or 0 <= part[0] <= part[1] < size


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=2-99", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("bytes=0-1,4-5", None),
        ("bytes=-", None),
        ("items=0-1", None),
    ],
)
def test_ranges(asked: str, part: tuple[int, int] | None) -> None:
    assert range_of(asked, 10) == part
