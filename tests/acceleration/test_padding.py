"""Text encoders work on what is text."""

import pytest
import torch

from tests.pipelines.golden import load
from vap.acceleration.fast import apply_profile
from vap.acceleration.padding import skip_padding

CAPTIONS = ["a cat on a mat", "", "a long caption about a dog that runs, and runs, and runs"]


@pytest.fixture
def lengths():
    """Tokens of each call of the first layer."""
    return []


def watched(pipeline, lengths):
    first = pipeline.text_encoder.encoder.block[0]
    first.register_forward_pre_hook(lambda _, args: lengths.append(args[0].shape[1]))
    return pipeline


def test_wan_captions_are_encoded_as_before_at_their_own_length(lengths) -> None:
    pipeline = watched(load("wan"), lengths)
    before = [pipeline.encode_prompt(each, max_sequence_length=512) for each in CAPTIONS]
    padded = set(lengths)
    lengths.clear()
    skip_padding(pipeline.text_encoder)
    after = [pipeline.encode_prompt(each, max_sequence_length=512) for each in CAPTIONS]

    assert padded == {512}
    assert max(lengths) < 100
    for old, new in zip(before, after, strict=True):
        for expected, found in zip(old, new, strict=True):
            assert found.shape == expected.shape
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_texts_of_several_lengths_are_cut_to_the_longest(lengths) -> None:
    pipeline = watched(load("wan"), lengths)
    expected, _ = pipeline.encode_prompt(CAPTIONS, do_classifier_free_guidance=False)
    skip_padding(pipeline.text_encoder)
    found, _ = pipeline.encode_prompt(CAPTIONS, do_classifier_free_guidance=False)

    tokens = [len(pipeline.tokenizer(each).input_ids) for each in CAPTIONS]
    assert lengths == [226, max(tokens)]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_without_a_mask_padding_counts_and_stays(lengths) -> None:
    pipeline = watched(load("cogvideox"), lengths)
    expected, _ = pipeline.encode_prompt("a cat", do_classifier_free_guidance=False)
    skip_padding(pipeline.text_encoder)
    found, _ = pipeline.encode_prompt("a cat", do_classifier_free_guidance=False)

    assert len(set(lengths)) == 1
    assert torch.equal(found, expected)


def test_a_profile_that_is_applied_again_adds_nothing_to_the_encoder() -> None:
    pipeline = load("wan", profile="exact")
    encoder = pipeline.text_encoder
    before = len(encoder._forward_pre_hooks), len(encoder._forward_hooks)
    apply_profile(pipeline, "exact")
    skip_padding(encoder)
    assert (len(encoder._forward_pre_hooks), len(encoder._forward_hooks)) == before
