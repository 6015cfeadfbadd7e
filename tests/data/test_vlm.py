from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from tests.data.clips_on_disk import inspected, made_clip
from vap.data.vlm import VlmCaptioner

WORDS = ["<unk>", "</s>", "<image>", *(f"w{index}" for index in range(29))]
TEMPLATE = (
    "{% for part in messages[0]['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny random LLaVA: 2 × 2 patches an image, a vocabulary of 32 words."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    width = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**width, num_hidden_layers=2, image_size=8, patch_size=4)
    text = LlamaConfig(
        **width, num_hidden_layers=1, vocab_size=len(WORDS), bos_token_id=None, eos_token_id=1
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=2)
    model = LlavaForConditionalGeneration(config)
    model.lm_head.weight.data[:3] = 0  # it never has to say </s> or <image>
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token=WORDS[0],
        eos_token=WORDS[1],
        additional_special_tokens=["<image>"],
    )
    size = {"height": 8, "width": 8}
    LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size),
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def test_a_model_from_a_folder_captions_a_clip_in_words(model_folder, tmp_path):
    captioner = VlmCaptioner.load(str(model_folder), device="cpu", prompt="w1 w2", frames=2)
    caption = captioner.caption(inspected(made_clip(tmp_path / "a.mp4")))
    assert set(caption.split()) <= set(WORDS)
    assert caption == captioner.caption(inspected(made_clip(tmp_path / "b.mp4")))


def test_a_model_that_says_nothing_is_a_reason_to_drop_the_clip(model_folder, tmp_path):
    captioner = VlmCaptioner.load(str(model_folder), device="cpu", prompt="w1", frames=1)
    captioner.chat.processor.batch_decode = lambda *_, **__: [" \n"]
    with pytest.raises(ValueError, match="empty caption"):
        captioner.caption(inspected(made_clip(tmp_path / "a.mp4")))


def test_the_model_sees_the_frames_asked_for_no_larger_than_needed(model_folder, tmp_path):
    captioner = VlmCaptioner.load(str(model_folder), device="cpu", frames=3)
    seen = []
    apply = captioner.chat.processor.apply_chat_template
    captioner.chat.processor.apply_chat_template = lambda messages, **options: (
        seen.extend(messages[0]["content"]) or apply(messages, **options)
    )
    captioner.caption(inspected(made_clip(tmp_path / "a.mp4", size=480)))
    assert [part["type"] for part in seen] == ["image"] * 3 + ["text"]
    assert {part["image"].size for part in seen[:3]} == {(448, 448)}


def test_no_frames_and_no_model_are_refused(model_folder, tmp_path):
    with pytest.raises(ValueError, match="frames=0"):
        VlmCaptioner.load(str(model_folder), frames=0)
    with pytest.raises(OSError, match="nowhere"):
        VlmCaptioner.load(str(tmp_path / "nowhere"))
