"""A video prompt knows its encoders again, also where one of them is left out."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

import vap
from tests.pipelines.golden import Golden, load
from vap.pipelines.video_prompt import encoder_configs, fingerprint, sampled_weights


class Vae(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Parameter(torch.linspace(-1, 1, 5000))
        self.last = torch.nn.Parameter(torch.full((2, 2), 1 / 3))


def encoded(case: Golden) -> vap.VideoPrompt:
    clip = case.inputs["reference"]
    return case.pipeline.encode_video_prompt(clip, "a", height=48, width=64, num_frames=9)


def without_text(case: Golden, pipeline: Any, **changes: Any) -> torch.Tensor:
    """A call whose texts were encoded before, by the whole pipeline."""
    length = 512 if case.family == "wan" else 226
    with torch.no_grad():
        text, negative = case.pipeline.encode_prompt("a", "b", max_sequence_length=length)
    given = {"prompt": None, "negative_prompt": None}
    embeds = {"prompt_embeds": text, "negative_prompt_embeds": negative}
    return case.run(case.alone(**given, **embeds, **changes), pipeline)


def test_the_hash_is_the_one_that_saved_prompts_hold() -> None:
    configs = [{"z_dim": 16, "_class_name": "Vae", "dtype": "float32"}, {"d_model": 32}, {}]
    assert fingerprint("wan", configs, sampled_weights(Vae())) == "5abcaa178196ff27"


def test_bfloat16_is_the_same_model_and_float16_need_not_be() -> None:
    exact = sampled_weights(Vae())
    assert sampled_weights(Vae().bfloat16()) == exact
    # As its description says: values that were rounded before round otherwise.
    assert sampled_weights(Vae().half()) != exact


def test_a_prompt_fits_a_pipeline_without_text_encoder(case: Golden) -> None:
    prompt = encoded(case)
    bare = load(case.family, text_encoder=None, tokenizer=None)
    assert bare.encoder_fingerprint == case.pipeline.encoder_fingerprint
    expected = without_text(case, case.pipeline, video_prompt=prompt)
    assert torch.equal(without_text(case, bare, video_prompt=prompt), expected)
    other = replace(prompt, fingerprint="of another")
    with pytest.raises(ValueError, match="encoders is of another"):
        without_text(case, bare, video_prompt=other)


def test_what_is_left_out_and_nowhere_described_is_not_compared(case: Golden) -> None:
    prompt = encoded(case)
    parts = {**case.pipeline.components, "text_encoder": None, "tokenizer": None}
    bare = type(case.pipeline)(**parts)
    bare.set_progress_bar_config(disable=True)
    assert encoder_configs(bare)[1] is None
    expected = without_text(case, case.pipeline, video_prompt=prompt)
    assert torch.equal(without_text(case, bare, video_prompt=prompt), expected)


def test_a_prompt_fits_a_pipeline_without_image_encoder(wan: Golden) -> None:
    bare = load("wan", image_encoder=None, image_processor=None)
    assert bare.encoder_fingerprint == wan.pipeline.encoder_fingerprint


@pytest.mark.parametrize("name", ["text_encoder", "image_encoder"])
def test_a_swapped_encoder_is_another(wan: Golden, name: str) -> None:
    prompt, pipeline = encoded(wan), load("wan")
    before = pipeline.encoder_fingerprint
    other = copy.deepcopy(getattr(pipeline, name))
    other.config.initializer_factor = 0.5
    setattr(pipeline, name, other)
    assert pipeline.encoder_fingerprint != before
    with pytest.raises(ValueError, match="its encoders is"):
        wan.run(wan.alone(video_prompt=prompt), pipeline)
