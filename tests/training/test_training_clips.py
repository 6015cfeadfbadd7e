import json
from dataclasses import replace

import pytest
import torch

from tests.training.tuning_tiny import GOLDEN, recipe_of
from vap.data.clip_encoder import encoders_identity
from vap.data.encoded import MANIFEST, EncodedClips, caption_digest
from vap.data.table import Table, read_table, write_table
from vap.training.stages.distill import ConsistencyTask
from vap.training.stages.dpo import DPOTask
from vap.training.stages.sft import SFTTask
from vap.training.training_clips import PairedClips, PreferredClips, read_rows, splits_of
from vap.training.tuning_config import DataConfig


def config(datasets, tmp_path, **data):
    return recipe_of(datasets["wan"], tmp_path, "wan", data=data).data


def test_a_target_comes_with_references_of_its_condition_and_never_itself(
    datasets, tmp_path
) -> None:
    clips = PairedClips(config(datasets, tmp_path, references=3), 1, seed=0)
    encoded = EncodedClips(datasets["wan"])
    for number in range(len(clips)):
        batch = clips.batch(number)
        target = int(batch.names[0].split(".")[0])
        others = [encoded.read(f"{i}.mp4")["latents"] for i in range(target % 2, 8, 2)]
        for reference in batch.reference["latents"][0]:
            assert any(torch.equal(reference, other) for other in others)
            assert not torch.equal(reference, batch.target["latents"][0])


def test_references_are_dropped_in_their_share(datasets, tmp_path) -> None:
    clips = PairedClips(config(datasets, tmp_path, references=3, reference_drop=0.3), 1, seed=0)
    counts = [clips.batch(n).reference["latents"].shape[1] for n in range(400)]
    assert set(counts) == {1, 2, 3}
    assert abs(sum(counts) / len(counts) - (1 + 2 * 0.7)) < 0.1


def test_captions_of_target_and_references_are_emptied_together(datasets, tmp_path) -> None:
    clips = PairedClips(config(datasets, tmp_path, references=2, caption_drop=0.5), 1, seed=0)
    empty = EncodedClips(datasets["wan"]).empty_text()
    emptied = 0
    for number in range(100):
        batch = clips.batch(number)
        texts = [batch.target["text"][0], *batch.reference["text"][0]]
        states = {torch.equal(text, empty) for text in texts}
        assert len(states) == 1
        emptied += states.pop()
    assert 30 < emptied < 70


def test_smaller_scales_are_subsets_of_larger_ones(datasets, tmp_path) -> None:
    encoded = EncodedClips(datasets["wan"])
    scales = [
        {row.video for row in read_rows(config(datasets, tmp_path, clips=n), encoded, seed=3)}
        for n in (2, 4, 6, 0)
    ]
    assert [len(scale) for scale in scales] == [2, 4, 6, 8]
    assert scales[0] < scales[1] < scales[2] < scales[3]


def test_only_the_chosen_conditions_are_read(datasets, tmp_path) -> None:
    encoded = EncodedClips(datasets["wan"])
    chosen = config(datasets, tmp_path, conditions=["kind 1"])
    assert {row.condition for row in read_rows(chosen, encoded, seed=0)} == {"kind 1"}


def rewritten(dataset, tmp_path, change):
    """The dataset's table with other rows."""
    rows = tuple(change(i, row) for i, row in enumerate(read_table(dataset / "table.csv").rows))
    write_table(Table(rows), tmp_path / "table.csv")
    return {"table": str(tmp_path / "table.csv")}


def test_the_scale_is_a_number_of_clips_that_can_be_trained_on(datasets, tmp_path) -> None:
    def others_first(i, row):
        return replace(row, split="test" if i < 2 else "train", score=4.0 if i < 4 else 90.0)

    data = rewritten(datasets["wan"], tmp_path, others_first)
    for seed in range(5):
        assert (
            len(PairedClips(config(datasets, tmp_path, clips=4, threshold=5, **data), 1, seed)) == 4
        )


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"conditions": ["kind 0", "knid 1"]}, r"data\.conditions: 'knid 1'.*mean 'kind 1'\?"),
        ({"splits": ["train", "trian"]}, r"data\.splits: 'trian'.*mean 'train'\?"),
        ({"splits": ["zzz"]}, r"data\.splits: 'zzz'.*there are: train"),
    ],
)
def test_a_name_that_no_row_has_is_refused_with_the_nearest(
    chosen, said, datasets, tmp_path
) -> None:
    with pytest.raises(ValueError, match=said):
        PairedClips(config(datasets, tmp_path, **chosen), 1, seed=0)


def test_no_preference_pair_is_refused_with_the_scores_that_it_takes(datasets, tmp_path) -> None:
    data = rewritten(datasets["wan"], tmp_path, lambda _, row: replace(row, score=50.0))
    with pytest.raises(ValueError, match=r"winner scored 80 or more, a loser scored 30 or less"):
        PreferredClips(config(datasets, tmp_path, **data), 1, seed=0)


def test_epochs_without_clear_pairs_are_passed_over(datasets, tmp_path) -> None:
    scores = (85.0, 83.0, 25.0, 20.0)
    data = rewritten(
        datasets["wan"], tmp_path, lambda i, row: replace(row, score=scores[i // 2 % 4])
    )
    clips = PreferredClips(config(datasets, tmp_path, **data), 1, seed=0)
    first, later = clips.batch(0).names, clips.batch(9).names
    assert {*first, *later} <= {"0.mp4", "1.mp4", "2.mp4", "3.mp4"}
    assert clips.batch(0).names == first


def noted(dataset, folder, **changes):
    """The same encodings with other entries of the manifest."""
    folder.mkdir()
    for path in dataset.glob("shard-*"):
        (folder / path.name).symlink_to(path)
    (folder / MANIFEST).write_text(
        json.dumps({**json.loads((dataset / MANIFEST).read_text()), **changes})
    )
    return {"encoded": str(folder)}


@pytest.mark.parametrize("kind", [PairedClips, PreferredClips])
def test_encodings_of_another_model_are_refused_with_the_remedy(kind, datasets, tmp_path) -> None:
    model = str(GOLDEN / "wan")
    own = noted(datasets["wan"], tmp_path / "own", **encoders_identity(model))
    kind(config(datasets, tmp_path, **own), 1, 0, model)
    other = noted(datasets["wan"], tmp_path / "other", encoders="0" * 64)
    with pytest.raises(ValueError, match=r"another model than .*: encoders differ\. Encode the"):
        kind(config(datasets, tmp_path, **other), 1, 0, model)
    other = noted(datasets["cogvideox"], tmp_path / "variant", family="cogvideox")
    with pytest.raises(ValueError, match=r"another model than .*: family differ"):
        kind(config(datasets, tmp_path, **other), 1, 0, model)


def test_tuning_looks_at_whose_encodings_it_is_given(datasets, tmp_path) -> None:
    other = noted(datasets["wan"], tmp_path / "other", encoders="0" * 64)
    for stage, task in (("sft", SFTTask), ("dpo", DPOTask)):
        recipe = recipe_of(datasets["wan"], tmp_path, "wan", stage=stage, data=other)
        with pytest.raises(ValueError, match="encoders differ"):
            task(recipe)
    recipe = recipe_of(datasets["wan"], tmp_path, "wan", stage="distill", data=other)
    with pytest.raises(ValueError, match="encoders differ"):
        ConsistencyTask(recipe)


def test_a_manifest_that_says_nothing_of_encoders_is_taken(datasets, tmp_path) -> None:
    assert "encoders" not in EncodedClips(datasets["wan"]).manifest
    assert len(PairedClips(config(datasets, tmp_path), 1, 0, str(GOLDEN / "wan")))


def test_captions_that_changed_after_encoding_are_counted(datasets, tmp_path, caplog) -> None:
    chosen = config(datasets, tmp_path)
    encoded = EncodedClips(datasets["wan"])
    read_rows(chosen, encoded, seed=0)
    assert not caplog.records
    changed = replace(encoded.clips["3.mp4"], caption=caption_digest("another"))
    encoded.clips["3.mp4"] = changed
    read_rows(chosen, encoded, seed=0)
    assert "1 of 8 captions" in caplog.text
    assert "'3.mp4'" in caplog.text


@pytest.mark.parametrize(
    ("known", "chosen", "splits"),
    [
        ({"train", "test"}, (), {"train"}),
        ({"test"}, (), {"test"}),
        ({"train", "test"}, ("test",), {"test"}),
    ],
)
def test_splits_are_the_tables_train_split_or_its_only_one(known, chosen, splits):
    config = DataConfig(table="t.csv", encoded="e", splits=chosen)
    assert splits_of(config, known) == splits


def test_one_of_several_splits_has_to_be_chosen():
    with pytest.raises(ValueError, match=r"'test', 'val'\. Set data\.splits"):
        splits_of(DataConfig(table="t.csv", encoded="e"), {"val", "test"})
