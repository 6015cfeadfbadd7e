import pytest
import torch
from cogvideox_tiny import SIZE, golden_model, golden_tensors
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid

from vap.models.cogvideox_rope import rotary_tables

BASE = (30, 45)


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
    target, none = rotary_tables((5, *size), BASE, 64)
    assert none is None
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(target, stock, strict=True))


def test_target_table_of_a_1_5_checkpoint_is_the_stock_slice_grid() -> None:
    stock = get_3d_rotary_pos_embed(
        64, None, (20, 30), temporal_size=5, grid_type="slice", max_size=(48, 85)
    )
    target, _ = rotary_tables((5, 20, 30), None, 64)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(target, stock, strict=True))


def test_references_come_before_the_target_in_one_unbroken_time_line() -> None:
    # Seen from the first reference, the target is the last F frames of one longer video: turning
    # every angle by the same amount must map one table on the other.
    frames, per_frame = 3, 4
    target, references = rotary_tables((frames, 2, 2), None, 16, references=2)
    longer, _ = rotary_tables((3 * frames, 2, 2), None, 16)
    angles = torch.cat([_complex(references), _complex(target)])
    turn = _complex(longer)[2 * frames * per_frame] / angles[2 * frames * per_frame]
    torch.testing.assert_close(angles * turn, _complex(longer), rtol=0, atol=1e-5)


def test_shared_mode_gives_references_the_targets_positions() -> None:
    target, references = rotary_tables((3, 2, 2), None, 16, references=2, mode="shared")
    for ours, theirs in zip(references, target, strict=True):
        assert torch.equal(ours, theirs.repeat(2, 1))


def _complex(table: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cosines, sines = table
    return torch.complex(cosines, sines)
