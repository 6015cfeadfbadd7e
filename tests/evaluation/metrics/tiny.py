"""Tiny random models of the classes that metrics load, videos, and samples of them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)

from vap.evaluation.case import Case
from vap.evaluation.metrics.base import Sample
from vap.media import write_video

WIDTHS = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}


def save_clip(folder, *, size=32, seed=0):
    """CLIP with 8 numbers an embedding and letters for tokens."""
    torch.manual_seed(seed)
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    text = {"vocab_size": len(words), "max_position_embeddings": 77, "num_hidden_layers": 2}
    ends = {"bos_token_id": len(words) - 2, "eos_token_id": len(words) - 1}
    vision = {"image_size": size, "patch_size": 8, "num_hidden_layers": 2}
    config = CLIPConfig(
        text_config={**WIDTHS, **text, **ends},
        vision_config={**WIDTHS, **vision},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    vocabulary = {word: index for index, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return str(folder)


def save_dino(folder, *, version=2):
    """A vision transformer of DINO or DINOv2."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "patch_size": 16}
    if version == 1:
        ViTModel(ViTConfig(**sizes, image_size=32), add_pooling_layer=False).save_pretrained(folder)
    else:
        Dinov2Model(Dinov2Config(**sizes, image_size=32)).save_pretrained(folder)
    return str(folder)


def texture(height=64, width=96, seed=0):
    """A picture with detail of about 8 pixels everywhere."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture)


def moving(step, *, frames=9, height=64, width=96):
    """A texture that moves to the right by whole pixels a frame."""
    wide = texture(height, width + step * frames)
    end = step * frames
    starts = [end - step * index for index in range(frames)]
    return np.stack([wide[:, start : start + width] for start in starts])


def sample_of(folder, frames, *, fps=8, prompt="a cat", image=None, **videos):
    """A sample whose frames are kept losslessly."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frames[0] if image is None else image).save(folder / "image.png")
    paths = {"own": write_video(frames, folder / "own", fps)}
    for name, other in videos.items():
        paths[name] = write_video(other, folder / name, fps)
    case = Case("case", "melt", folder / "image.png", folder / "own", prompt)
    return Sample(case, "system", 0, paths)


def noise(frames=9):
    """Frames that have nothing to do with each other."""
    return np.random.default_rng(0).integers(0, 256, (frames, 64, 96, 3), np.uint8)


def still(value=None):
    """A texture, or one gray, that does not change."""
    return np.stack([texture() if value is None else np.full((64, 96, 3), value, np.uint8)] * 9)
