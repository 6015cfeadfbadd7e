from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from vap.mini.training.encoded_pairs import (
    EncodedPairs,
    ShardOrigin,
    draw,
    read_origin,
    read_shards,
    take,
    write_shard,
)

ORIGIN = ShardOrigin(4, 6, "abc", "{}")


def encoded(count, first=0, frames=2):
    generator = torch.Generator().manual_seed(first)
    shape = (count, 2, 4, frames, 3, 5)
    return EncodedPairs(
        torch.randn(shape, generator=generator),
        torch.randn(shape, generator=generator),
        torch.randn(count, 2, 6, 8, generator=generator),
        [(("a cat", "a cat spins"), ("a dog", "a dog spins")) for _ in range(count)],
        [f"spin{first + i}" for i in range(count)],
    )


def test_shards_come_back_in_order(tmp_path):
    first, second = encoded(3), encoded(2, first=3)
    write_shard(tmp_path / "pairs-1.safetensors", second, ORIGIN)
    write_shard(tmp_path / "pairs-0.safetensors", first, ORIGIN)

    pairs = read_shards(tmp_path)

    assert len(pairs) == 5
    assert list(pairs.names) == ["spin0", "spin1", "spin2", "spin3", "spin4"]
    assert torch.allclose(pairs.latents[3:].float(), second.latents, atol=2e-3)
    assert pairs.captions[4] == (("a cat", "a cat spins"), ("a dog", "a dog spins"))
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_without_shards_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="latents stage"):
        read_shards(tmp_path)


def test_shards_of_different_sizes_are_refused(tmp_path):
    write_shard(tmp_path / "a.safetensors", encoded(1), ORIGIN)
    write_shard(tmp_path / "b.safetensors", encoded(1, frames=3), ORIGIN)

    with pytest.raises(ValueError, match="disagree"):
        read_shards(tmp_path)


def test_a_side_of_a_pair_is_taken_whole():
    pairs = encoded(3)

    batch = take(pairs, [2, 0], [1, 0])

    assert torch.equal(batch.latents[0], pairs.latents[2, 1])
    assert torch.equal(batch.image_tokens[1], pairs.image_tokens[0, 0])
    assert list(batch.captions) == [("a dog", "a dog spins"), ("a cat", "a cat spins")]


def test_draws_depend_on_seed_and_step_alone():
    pairs = encoded(9)

    assert draw(pairs, 6, seed=1, step=4) == draw(pairs, 6, seed=1, step=4)
    assert draw(pairs, 6, seed=1, step=4) != draw(pairs, 6, seed=1, step=5)
    assert len(set(draw(pairs, 6, seed=1, step=4)[0])) == 6


def test_more_draws_than_pairs_repeat_pairs():
    indices, sides = draw(encoded(2), 50, seed=0, step=0)

    assert set(indices) == {0, 1}
    assert set(sides) == {0, 1}


def test_a_shard_says_which_pairs_are_in_it(tmp_path):
    write_shard(tmp_path / "pairs-4.safetensors", encoded(2), ORIGIN)

    assert read_origin(tmp_path / "pairs-4.safetensors") == ORIGIN


def test_a_damaged_shard_is_named(tmp_path):
    path = tmp_path / "pairs-0.safetensors"
    path.write_bytes(b"half")

    with pytest.raises(ValueError, match=r"pairs-0\.safetensors is damaged"):
        read_origin(path)


def damage(path, tensors=(), **metadata):
    """Leave out tensors of a shard, and write other metadata."""
    kept = {name: values for name, values in load_file(path).items() if name not in tensors}
    notes = {"captions": json.dumps(encoded(1).captions), "names": '["spin0"]', **metadata}
    save_file(kept, path, metadata={name: note for name, note in notes.items() if note})


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"half"),
        lambda path: damage(path, tensors=["conditions"]),
        lambda path: damage(path, names=""),
        lambda path: damage(path, captions="half"),
        lambda path: damage(path, captions="[1]"),
        lambda path: damage(path, captions='[[["a"], ["b"]]]'),
        lambda path: damage(path, names="1"),
        lambda path: damage(path, names='["spin0", "spin1"]'),
        lambda path: save_file({"weight": torch.zeros(2)}, path),
    ],
)
def test_a_file_that_is_no_sound_shard_is_named_when_it_is_read(change, tmp_path):
    path = tmp_path / "pairs-0.safetensors"
    write_shard(path, encoded(1), ORIGIN)
    assert len(read_shards(tmp_path)) == 1
    change(path)

    with pytest.raises(ValueError, match=r"pairs-0\.safetensors is damaged or no shard .*Remove"):
        read_shards(tmp_path)


def test_a_shard_with_surplus_tensors_is_refused(tmp_path):
    path = tmp_path / "pairs-0.safetensors"
    write_shard(path, encoded(1), ORIGIN)
    notes = {"captions": json.dumps(encoded(1).captions), "names": '["spin0"]'}
    save_file({**load_file(path), "weight": torch.zeros(2)}, path, metadata=notes)

    with pytest.raises(ValueError, match=r"pairs-0\.safetensors is damaged or no shard .*weight"):
        read_shards(tmp_path)


@pytest.mark.parametrize("note", ['{"begin": 0}', "[1]", "half", ""])
def test_an_origin_of_other_keys_is_named(note, tmp_path):
    path = tmp_path / "pairs-0.safetensors"
    write_shard(path, encoded(1), ORIGIN)
    damage(path, origin=note)

    with pytest.raises(ValueError, match=r"pairs-0\.safetensors is damaged or no shard"):
        read_origin(path)


def test_what_a_killed_run_has_half_written_is_no_shard(tmp_path):
    write_shard(tmp_path / "pairs-0.safetensors", encoded(1), ORIGIN)
    (tmp_path / ".pairs-1-0a1b2c3d.safetensors").write_bytes(b"half")

    assert len(read_shards(tmp_path)) == 1
