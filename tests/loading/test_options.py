"""Options are taken or refused, and what the user brings stays theirs."""

import pytest
import torch

import vap
from tests.pipelines.golden import FOLDER, Golden, load
from vap.acceleration.plan import CPU_PLANS
from vap.loading import memory
from vap.loading.pipeline import check_options

NAMED = {"quantize", "offload", "student"}


@pytest.mark.parametrize(
    ("given", "meant"),
    [("quantise", "quantize"), ("text_encodr", "text_encoder"), ("variants", "variant")],
)
def test_an_option_that_nothing_takes_is_refused_with_the_nearest(given: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"no option '{given}'. Did you mean '{meant}'"):
        check_options([given], NAMED)


def test_an_option_like_no_other_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no option 'xyzzy'\. Give one of: .*'scheduler'"):
        check_options(["xyzzy"], NAMED)


@pytest.mark.parametrize("name", ["trust_remote_code", "custom_pipeline"])
def test_what_would_run_foreign_code_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"no option '{name}'"):
        check_options([name], NAMED)


def test_parts_of_a_pipeline_and_loading_options_are_taken() -> None:
    check_options(["transformer", "image_encoder", "generation_defaults", "variant"], NAMED)


def test_a_wrong_option_is_refused_before_anything_is_looked_for() -> None:
    with pytest.raises(ValueError, match=r"no option 'quantise'\. Did you mean 'quantize'"):
        vap.load_pipeline("nobody/has-this", quantise="int8")


def test_a_text_encoder_of_the_users_stays_in_memory(case: Golden, monkeypatch) -> None:
    monkeypatch.setattr(memory, "planned", lambda *_, **__: CPU_PLANS[1])
    own = load(case.family).text_encoder
    pipeline = load(case.family, memory="10GB", text_encoder=own)
    assert pipeline.text_encoder is own
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    first, second = (case.run(case.prompted(), pipeline) for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(tensor, before[name]) for name, tensor in own.state_dict().items())


@pytest.mark.parametrize("options", [{"profile": "exact"}, {"memory": "10GB"}])
def test_a_pipeline_loads_without_its_text_encoder(case: Golden, monkeypatch, options) -> None:
    monkeypatch.setattr(memory, "planned", lambda *_, **__: CPU_PLANS[1])
    pipeline = load(case.family, text_encoder=None, tokenizer=None, **options)
    length = {"wan": 512, "cogvideox": 226}[case.family]
    text, negative = case.pipeline.encode_prompt(
        case.settings["prompt"], case.settings["negative_prompt"], max_sequence_length=length
    )
    given = {"prompt": None, "negative_prompt": None}
    given |= {"prompt_embeds": text, "negative_prompt_embeds": negative}
    assert case.run(case.alone(**given), pipeline).isfinite().all()


def test_a_student_is_not_merged_into_a_gguf_backbone() -> None:
    with pytest.raises(ValueError, match=r"GGUF file\. Leave out student"):
        vap.load_pipeline(FOLDER / "wan", backbone="backbone.gguf", student="lora.safetensors")
