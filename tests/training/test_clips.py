import torch

from tests.training.tuning_tiny import recipe_of
from vap.data.encoded import EncodedClips
from vap.training.clips import PairedClips, read_rows


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
