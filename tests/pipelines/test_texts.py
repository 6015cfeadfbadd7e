"""What a text encoder does not read is told, wherever a text goes in."""

import warnings
from typing import Any

import pytest
import torch

from tests.pipelines.golden import Golden
from vap.shapes import TEXT_TOKENS

LONG = "a cat sits on a red sofa. " * 80 + "Then fireworks."


@pytest.mark.parametrize("argument", ["prompt", "negative_prompt", "reference_prompts"])
def test_a_part_that_is_cut_is_told(case: Golden, argument: str) -> None:
    given: dict[str, Any] = {argument: [LONG]}
    limit = TEXT_TOKENS[case.family]
    with pytest.warns(UserWarning, match=rf"reads {limit}.*Then fireworks") as told:
        long = case.run(case.prompted(**given))
    assert len([each for each in told if "no effect" in str(each.message)]) == 1
    assert all(len(str(each.message)) < 500 for each in told)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        longer = case.run(case.prompted(**{argument: [LONG + " Then rain."]}))
    assert torch.equal(long, longer)


def test_a_text_that_just_fits_is_not_told(case: Golden) -> None:
    tokenizer, limit = case.pipeline.tokenizer, TEXT_TOKENS[case.family]
    words = "a " * limit
    while len(tokenizer(words).input_ids) > limit:
        words = words[:-2]
    assert len(tokenizer(words).input_ids) in {limit - 1, limit}  # a word may be two tokens
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        case.pipeline.encode_prompt(
            words, do_classifier_free_guidance=False, max_sequence_length=limit
        )
