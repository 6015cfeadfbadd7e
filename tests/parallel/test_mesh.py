import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.parallel import Mesh

DEGREES = st.builds(Mesh, st.integers(1, 2), st.integers(1, 8), st.integers(1, 8))


@given(DEGREES)
def test_a_mesh_is_read_as_it_is_written(mesh):
    assert Mesh.parse(str(mesh)) == mesh


def test_degrees_not_named_are_one():
    assert Mesh.parse("ulysses=2") == Mesh(guidance=1, ring=1, ulysses=2)
    assert Mesh.parse(" ring=2 , guidance = 2") == Mesh(guidance=2, ring=2, ulysses=1)


@given(st.text())
def test_any_text_is_a_mesh_or_refused(text):
    try:
        mesh = Mesh.parse(text)
    except ValueError as error:
        assert "degree" in str(error) or "two passes" in str(error)  # noqa: PT017 - some are meshes
    else:
        assert Mesh.parse(str(mesh)) == mesh


@pytest.mark.parametrize(
    "text", ["", "ulysses", "ulysses=0", "ulysses=-1", "ulysses=2,ulysses=2", "tensor=2", "2"]
)
def test_what_is_no_mesh_is_refused(text):
    with pytest.raises(ValueError, match="degree"):
        Mesh.parse(text)


def test_there_are_two_passes_to_share():
    with pytest.raises(ValueError, match="two passes"):
        Mesh(guidance=3)


@pytest.mark.parametrize(
    ("processes", "heads", "guided", "expected"),
    [
        (2, 40, True, Mesh(guidance=2)),
        (2, 40, False, Mesh(ulysses=2)),
        (8, 40, True, Mesh(guidance=2, ulysses=4)),
        (8, 48, False, Mesh(ulysses=8)),
        (3, 40, True, Mesh(ring=3)),
        (3, 48, True, Mesh(ulysses=3)),
        (64, 40, True, Mesh(guidance=2, ring=4, ulysses=8)),
        (4, 5, True, Mesh(guidance=2, ring=2)),
        (1, 40, True, Mesh()),
    ],
)
def test_the_default_communicates_least(processes, heads, guided, expected):
    assert Mesh.choose(processes, heads, guided=guided) == expected


@given(st.integers(1, 64), st.integers(1, 64), st.booleans())
def test_the_default_fits(processes, heads, guided):
    Mesh.choose(processes, heads, guided=guided).check(processes, heads)


def test_a_mesh_for_other_processes_is_refused():
    with pytest.raises(ValueError, match=r"needs 4 processes, and 2 were started"):
        Mesh(guidance=2, ulysses=2).check(2, heads=40)


def test_more_exchanges_than_heads_are_refused():
    with pytest.raises(ValueError, match=r"Use ulysses=2 or less"):
        Mesh(ulysses=4).check(4, heads=2)
