from __future__ import annotations

import torch
from diffusers import WanTransformer3DModel

from vap.mini.training.mini_recipe import EncoderConfig, TransformerConfig
from vap.mini.training.small_encoders import use_compact_text
from vap.mini.training.stages.backbone_stage import build_transformer
from vap.models import wan_block


def tiny_transformer() -> WanTransformer3DModel:
    torch.manual_seed(0)
    config = TransformerConfig(
        num_layers=2, num_attention_heads=2, attention_head_dim=12, ffn_dim=16, freq_dim=8
    )
    return build_transformer(config, EncoderConfig(text_dim=8, image_dim=6), channels=4)


def test_a_short_caption_computes_what_512_tokens_compute():
    model = tiny_transformer()
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 12, 2, 4, 4, generator=generator)
    image = torch.randn(2, 3, 6, generator=generator)
    text = torch.zeros(2, 512, 8)
    text[:, :5] = torch.randn(2, 5, 8, generator=generator)
    timestep = torch.tensor([10, 900])

    with torch.no_grad():
        stock = model(latents, timestep, text, image).sample
        use_compact_text(model, 9)
        compact = model(latents, timestep, text[:, :9], image).sample
        use_compact_text(model, 6)
        shortest = model(latents, timestep, text[:, :6], image).sample

    assert torch.allclose(compact, stock, atol=1e-5)
    assert torch.allclose(shortest, stock, atol=1e-5)


def test_the_number_of_padding_tokens_matters(monkeypatch):
    model = tiny_transformer()
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 12, 2, 4, 4, generator=generator)
    text = torch.randn(1, 512, 8, generator=generator)
    text[:, 5:] = 0
    image = torch.zeros(1, 3, 6)

    with torch.no_grad():
        stock = model(latents, torch.tensor([500]), text, image).sample
        use_compact_text(model, 512)
        full = model(latents, torch.tensor([500]), text, image).sample
        use_compact_text(model, 6)
        monkeypatch.setattr(wan_block, "_attention_with_padding", once)
        unweighted = model(latents, torch.tensor([500]), text[:, :6], image).sample

    assert torch.allclose(full, stock, atol=1e-5)
    assert not torch.allclose(unweighted, stock, atol=1e-4)


def once(*streams: torch.Tensor | int) -> torch.Tensor:
    """Attention in which the last token stands for itself alone."""
    query, key, value = (tokens.transpose(1, 2) for tokens in streams[:3])
    return torch.nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
