from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import T5TokenizerFast

from vap.mini.training.mini_recipe import EncoderConfig
from vap.mini.training.small_encoders import (
    build_image_encoder,
    build_image_processor,
    build_text_encoder,
    build_tokenizer,
    encode_images,
    encode_text,
    synth_captions,
    token_ids,
)

CONFIG = EncoderConfig(text_dim=8, text_heads=2, image_dim=8, image_heads=2, image_size=32)
TOKENIZER = build_tokenizer(["a red cat on grass; it spins around", "a blue dog"])


def test_known_words_are_one_token_each():
    assert TOKENIZER.tokenize("a blue cat; it spins") == [
        "▁a",
        "▁blue",
        "▁cat",
        ";",
        "▁it",
        "▁spins",
    ]


def test_unknown_words_are_spelt():
    assert TOKENIZER.tokenize("a zebra") == ["▁a", "▁", "z", "e", "b", "r", "a"]


def test_padding_a_batch_leaves_no_trace_in_the_saved_tokenizer(tmp_path):
    tokenizer = build_tokenizer(["a red cat on grass; it spins around", "a blue dog"])
    tokenizer.save_pretrained(tmp_path / "before")
    token_ids(tokenizer, ["a red cat", ""], 9)
    tokenizer.save_pretrained(tmp_path / "after")
    for file in (tmp_path / "before").iterdir():
        assert (tmp_path / "after" / file.name).read_bytes() == file.read_bytes()


def test_the_tokenizer_survives_saving(tmp_path):
    TOKENIZER.save_pretrained(tmp_path)
    loaded = T5TokenizerFast.from_pretrained(tmp_path)

    text = "a red dog; it spins"
    assert loaded(text).input_ids == TOKENIZER(text).input_ids
    assert len(loaded(text, padding="max_length", max_length=512).input_ids) == 512


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_plain_text_never_becomes_the_unknown_token(text):
    assert TOKENIZER.unk_token_id not in TOKENIZER(text).input_ids


def test_captions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="text_tokens=3"):
        token_ids(TOKENIZER, ["a red cat on grass"], 3)


def test_text_is_zero_after_its_length_and_does_not_depend_on_padding():
    encoder = build_text_encoder(CONFIG, len(TOKENIZER))
    with torch.no_grad():
        short = encode_text(encoder, *token_ids(TOKENIZER, ["a red cat"], 8))
        long = encode_text(encoder, *token_ids(TOKENIZER, ["a red cat"], 64))

    assert (short[:, 4:] == 0).all()
    assert torch.allclose(long[:, :8], short, atol=1e-6)


def test_different_captions_have_different_tokens():
    encoder = build_text_encoder(CONFIG, len(TOKENIZER))
    with torch.no_grad():
        red, blue = encode_text(encoder, *token_ids(TOKENIZER, ["a red cat", "a blue cat"], 8))

    assert (red[1] - blue[1]).norm() > 0.3 * red[1].norm()


def test_images_become_a_class_token_and_a_token_for_each_patch():
    encoder = build_image_encoder(CONFIG)
    image = torch.zeros(24, 40, 3, dtype=torch.uint8)

    tokens = encode_images(encoder, build_image_processor(CONFIG), [image, image])

    assert tokens.shape == (2, 1 + (32 // 16) ** 2, 8)


def test_every_phrase_of_the_synth_is_in_its_captions():
    captions = synth_captions(count=2)

    assert any("sepia" in caption for caption in captions)
