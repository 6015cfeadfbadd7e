"""A tiny random chat model that sees images."""

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

WORDS = ["<unk>", "</s>", "<image>", *(f"w{index}" for index in range(29))]
TEMPLATE = (
    "{% for part in messages[0]['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
)


SENTENCE = '{"caption":"w3"}'
"""All that the model of :func:`writing_folder` says."""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    """A tiny random LLaVA: 2 × 2 patches an image, a vocabulary of 32 words."""
    # It never has to say </s> or <image>.
    return _saved(tmp_path_factory.mktemp("model"), WORDS, silent=3)


@pytest.fixture(scope="module")
def writing_folder(tmp_path_factory):
    """The same model, which answers with a caption."""
    vocabulary = [SENTENCE, *WORDS[1:-1], WORDS[0]]
    # Of words that are equally likely, it says the first.
    return _saved(tmp_path_factory.mktemp("writing"), vocabulary, silent=len(WORDS))


def _saved(folder, vocabulary, silent):
    torch.manual_seed(0)
    width = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**width, num_hidden_layers=2, image_size=8, patch_size=4)
    text = LlamaConfig(
        **width, num_hidden_layers=1, vocab_size=len(WORDS), bos_token_id=None, eos_token_id=1
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=2)
    model = LlavaForConditionalGeneration(config)
    model.lm_head.weight.data[:silent] = 0
    model.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>"))
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
