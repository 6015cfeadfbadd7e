"""Where references stand, relative to the target."""

from typing import get_args

import pytest
import torch
from cogvideox_tiny import SIZE, golden_model, golden_tensors
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from hypothesis import given
from hypothesis import strategies as st

from vap.models.rope import (
    Grid,
    ReferencePositions,
    WanReferenceRotaryEmbedding,
    check_reference_positions,
    cogvideox_rotary_tables,
    reference_grid,
    rotary_table,
)

BASE = (30, 45)
MODES = get_args(ReferencePositions)
sizes = st.integers(1, 6)


def target_grid(frames: int, height: int, width: int) -> Grid:
    return Grid(torch.arange(frames), torch.arange(height), torch.arange(width))


def positions(grid: Grid) -> set[tuple[float, ...]]:
    return {
        (float(t), float(y), float(x)) for t in grid.time for y in grid.height for x in grid.width
    }


def test_references_come_before_the_target_first_one_first() -> None:
    target = target_grid(3, 2, 2)
    first, second = (reference_grid(target, index, 2, "before") for index in (0, 1))
    assert first.time.tolist() == [-6, -5, -4]
    assert second.time.tolist() == [-3, -2, -1]
    assert first.height is target.height
    assert first.width is target.width


def test_ablations_move_references_elsewhere() -> None:
    target = target_grid(3, 4, 5)
    shared = reference_grid(target, 1, 2, "shared")
    assert positions(shared) == positions(target)
    assert reference_grid(target, 0, 2, "height").height.tolist() == [-8, -7, -6, -5]
    assert reference_grid(target, 1, 2, "width").width.tolist() == [-5, -4, -3, -2, -1]
    assert reference_grid(target, 0, 2, "discrete").time.tolist() == [50, 51, 52]
    assert reference_grid(target, 1, 2, "discrete").time.tolist() == [80, 81, 82]


def test_rows_that_are_scaled_move_by_their_own_span() -> None:
    target = Grid(torch.arange(2), torch.tensor([0.0, 0.5, 1.0, 1.5]), torch.arange(2))
    moved = reference_grid(target, 0, 1, "height").height
    assert moved.tolist() == [-2.0, -1.5, -1.0, -0.5]


@given(st.sampled_from(MODES), sizes, sizes, sizes, st.integers(1, 3))
def test_no_two_videos_share_a_position_unless_asked(
    mode: ReferencePositions, frames: int, height: int, width: int, count: int
) -> None:
    target = target_grid(frames, height, width)
    grids = [target, *(reference_grid(target, index, count, mode) for index in range(count))]
    together = set().union(*map(positions, grids))
    cells = frames * height * width
    assert len(together) == (cells if mode == "shared" else cells * (count + 1))


def test_an_unknown_placement_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'after' is unknown.*before, shared, height"):
        check_reference_positions("after")


def test_tables_hold_pairs_of_each_axis_in_token_order() -> None:
    grid = target_grid(2, 3, 4)
    cosines, sines = rotary_table(grid, (4, 2, 2))
    assert cosines.shape == sines.shape == (24, 8)
    assert cosines.dtype == torch.float32
    token = (1 * 3 + 2) * 4 + 3
    angles = torch.tensor([1.0, 1.0, 0.01, 0.01, 2.0, 2.0, 3.0, 3.0])
    torch.testing.assert_close(cosines[token], angles.cos())
    torch.testing.assert_close(sines[token], angles.sin())


def test_negative_positions_turn_the_other_way() -> None:
    ahead, behind = (
        rotary_table(Grid(torch.tensor([sign * 5]), torch.zeros(1), torch.zeros(1)), (8, 2, 2))
        for sign in (1, -1)
    )
    assert torch.equal(ahead[0], behind[0])
    assert torch.equal(ahead[1], -behind[1])
    assert ahead[1].any()


def turned(vector: torch.Tensor, position: float) -> torch.Tensor:
    grid = Grid(torch.tensor([position]), torch.zeros(1), torch.zeros(1))
    cosines, sines = rotary_table(grid, (8, 0, 0), torch.float64)
    even, odd = vector[0::2], vector[1::2]
    cos, sin = cosines[0, 0::2], sines[0, 0::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1).flatten()


@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(-90, 90))
def test_only_distances_matter_to_attention(query: int, key: int, shift: int) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, generator=generator)
    score = turned(q, query) @ turned(k, key)
    moved = turned(q, query + shift) @ turned(k, key + shift)
    torch.testing.assert_close(moved, score, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_wan_tables_stack_the_references(mode: ReferencePositions) -> None:
    rope = WanReferenceRotaryEmbedding(32, (1, 2, 2))
    assert rope.dims == (12, 10, 10)
    cosines, sines = rope(torch.zeros(1, 2, 36, 3, 6, 8), mode)
    assert cosines.shape == sines.shape == (2, 36, 1, 32)
    grid = reference_grid(target_grid(3, 3, 4), 1, 2, mode)
    torch.testing.assert_close(
        cosines[1, :, 0], rotary_table(grid, rope.dims, torch.float64)[0], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_double_precision_stays_on_the_cpu(device: str, monkeypatch) -> None:
    """Metal and some of Intel's GPUs have none."""
    made = []
    arange = torch.arange
    monkeypatch.setattr(
        torch, "arange", lambda *a, **k: made.append(k["device"]) or arange(*a, **k)
    )
    tables = WanReferenceRotaryEmbedding(12, (1, 2, 2))(
        torch.empty(1, 2, 4, 3, 4, 4, device=device), "before"
    )
    assert {str(place) for place in made} == {"cpu"}
    assert {(table.device.type, table.dtype) for table in tables} == {(device, torch.float32)}


def test_tables_equal_the_released_ones() -> None:
    golden = golden_tensors()
    for references in (1, 2):
        target, reference = golden_model().rotary_tables(SIZE, references)
        assert target is not None
        assert reference is not None
        for index, name in enumerate(("cos", "sin")):
            prefix = f"transformer.{references}ref.rope_"
            torch.testing.assert_close(target[index], golden[f"rope_{name}"], rtol=0, atol=1e-7)
            torch.testing.assert_close(reference[index], golden[prefix + name], rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [(30, 45), (45, 30), (20, 20), (48, 85), (1, 1), (30, 44)])
def test_target_table_is_the_stock_pipelines_resize_crop_grid(size: tuple[int, int]) -> None:
    stock = get_3d_rotary_pos_embed(
        64, get_resize_crop_region_for_grid(size, BASE[1], BASE[0]), size, temporal_size=5
    )
    target, none = cogvideox_rotary_tables((5, *size), BASE, 64)
    assert none is None
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(target, stock, strict=True))


def test_target_table_of_a_1_5_checkpoint_is_the_stock_slice_grid() -> None:
    stock = get_3d_rotary_pos_embed(
        64, None, (20, 30), temporal_size=5, grid_type="slice", max_size=(48, 85)
    )
    target, _ = cogvideox_rotary_tables((5, 20, 30), None, 64)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(target, stock, strict=True))


def test_references_come_before_the_target_in_one_unbroken_time_line() -> None:
    # Seen from the first reference, the target is the last F frames of one longer video: turning
    # every angle by the same amount must map one table on the other.
    frames, per_frame = 3, 4
    target, references = cogvideox_rotary_tables((frames, 2, 2), None, 16, references=2)
    longer, _ = cogvideox_rotary_tables((3 * frames, 2, 2), None, 16)
    angles = torch.cat([_complex(references), _complex(target)])
    turn = _complex(longer)[2 * frames * per_frame] / angles[2 * frames * per_frame]
    torch.testing.assert_close(angles * turn, _complex(longer), rtol=0, atol=1e-5)


def test_shared_mode_gives_references_the_targets_positions() -> None:
    target, references = cogvideox_rotary_tables((3, 2, 2), None, 16, references=2, mode="shared")
    for ours, theirs in zip(references, target, strict=True):
        assert torch.equal(ours, theirs.repeat(2, 1))


def _complex(table: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cosines, sines = table
    return torch.complex(cosines, sines)
