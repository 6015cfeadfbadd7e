"""The small text and image encoders of a mini model, and the tokenizer of its captions."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Iterable
from math import log

import torch
from diffusers.models.transformers.transformer_wan import WanAttention
from torch import Tensor, nn
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    CLIPVisionModel,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)

from vap.mini.training.mini_recipe import EncoderConfig
from vap.models.wan_block import WanContextAttnProcessor
from vap.synth import CONDITIONS, Split, pair_spec

_SPACE = "▁"
# Less likely than any word, so that a word of the vocabulary is never spelled.
_CHARACTER_SCORE = -30.0
_VOCABULARY_PAIRS = 4000


def synth_captions(count: int = _VOCABULARY_PAIRS) -> list[str]:
    """Captions of VAP-Synth, of seen and of unseen scenes, and every condition's phrase."""
    captions = [condition.phrase for condition in CONDITIONS.values()]
    for index in range(count):
        split: Split = "train" if index % 2 else "seen"
        pair = pair_spec(0, index, split=split, effect_in_caption=1.0)
        captions.extend(clip.caption for clip in pair)
    return captions


def build_tokenizer(captions: Iterable[str]) -> T5Tokenizer:
    """A T5 tokenizer whose pieces are the captions' words, with single characters for the rest."""
    spaced = (text.replace(";", " ;").replace(",", " ,") for text in captions)
    words = Counter(word for text in spaced for word in text.split())
    total = sum(words.values())
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    known = set()
    for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])):
        known.add(_SPACE + word)
        pieces.append((_SPACE + word, log(count / total)))
    characters = [_SPACE, *string.ascii_letters, *string.digits, *string.punctuation]
    pieces.extend((piece, _CHARACTER_SCORE) for piece in characters if piece not in known)
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def build_text_encoder(config: EncoderConfig, vocabulary: int) -> UMT5EncoderModel:
    """A fresh UMT5 encoder."""
    torch.manual_seed(config.seed)
    return UMT5EncoderModel(
        UMT5Config(
            vocab_size=vocabulary,
            d_model=config.text_dim,
            d_kv=config.text_dim // config.text_heads,
            d_ff=2 * config.text_dim,
            num_layers=config.text_layers,
            num_heads=config.text_heads,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    ).eval()


def build_image_encoder(config: EncoderConfig) -> CLIPVisionModel:
    """A fresh CLIP vision transformer."""
    torch.manual_seed(config.seed)
    return CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=config.image_dim,
            intermediate_size=2 * config.image_dim,
            num_hidden_layers=config.image_layers,
            num_attention_heads=config.image_heads,
            image_size=config.image_size,
            patch_size=config.image_patch,
            projection_dim=config.image_dim,
        )
    ).eval()


def image_encoder_note(config: EncoderConfig) -> str:
    """All that decides a fresh image encoder's tokens, as shards remember it."""
    tree = config.model_dump()
    decisive = {name: tree[name] for name in tree if name == "seed" or name.startswith("image_")}
    return json.dumps(decisive, sort_keys=True)


def build_image_processor(config: EncoderConfig) -> CLIPImageProcessorPil:
    """CLIP's resize, center crop and normalization at the encoder's size."""
    side = config.image_size
    return CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def encode_images(
    encoder: CLIPVisionModel, processor: CLIPImageProcessorPil, images: list[Tensor]
) -> Tensor:
    """Image tokens ``[B, I, D]`` of ``uint8`` RGB images ``[H, W, 3]``, as the Wan pipeline's."""
    pixels = processor(images=[image.numpy() for image in images], return_tensors="pt")
    return encoder(**pixels, output_hidden_states=True).hidden_states[-2]


def token_ids(tokenizer: T5Tokenizer, captions: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Ids ``[B, length]`` and mask ``[B, length]`` of captions."""
    encoded = tokenizer(captions, add_special_tokens=True)
    longest = max(len(ids) for ids in encoded.input_ids)
    if longest > length:
        raise ValueError(f"A caption has {longest} tokens; text_tokens={length} is too few.")
    # Not by a second call: what it is told to pad to would be saved with the tokenizer.
    padded = tokenizer.pad(encoded, padding="max_length", max_length=length, return_tensors="pt")
    return padded.input_ids, padded.attention_mask


def encode_text(encoder: UMT5EncoderModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Text tokens ``[B, L, D]``, zero where the mask is, as the Wan pipeline's."""
    hidden = encoder(ids, mask).last_hidden_state
    return hidden * mask.unsqueeze(-1).to(hidden.dtype)


def use_compact_text(transformer: nn.Module, text_tokens: int) -> None:
    """Let every cross-attention of a Wan transformer expect so many tokens of text.

    The result equals attention to 512 tokens, see
    :class:`vap.models.wan_block.WanContextAttnProcessor`; a saved model is the stock one.
    """
    for module in transformer.modules():
        if isinstance(module, WanAttention) and module.is_cross_attention:
            processor = WanContextAttnProcessor()
            processor.text_tokens = text_tokens
            module.set_processor(processor)
