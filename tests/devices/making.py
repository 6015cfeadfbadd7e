"""Models and pipelines of both variants whose weights are fakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers

from tests.devices.fake import CUDA, retype
from vap.pipelines.base import pipeline_class
from vap.shapes import Family

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES: tuple[Family, ...] = ("wan", "cogvideox")
_FULL = {"wan": "wan-14b-shapes.json", "cogvideox": "cogvideox-5b-shapes.json"}
_HALF = torch.bfloat16


def transformer(
    family: Family, *, full_size: bool = False, dtype: Any = _HALF, device: Any = CUDA
) -> Any:
    """A transformer of the golden size or of the release's, its weights fakes."""
    kind = pipeline_class(family).transformer_class
    path = GOLDEN / (_FULL[family] if full_size else f"{family}/transformer/config.json")
    config = json.loads(path.read_text())
    config = config["config"] if full_size else config
    with device:
        model = kind(**{key: value for key, value in config.items() if key[0] != "_"})
    return retype(model, dtype, tuple(kind._keep_in_fp32_modules or ()), device)


def inputs_of(
    family: Family, model: Any, batch: int, references: int, size: Any, device: Any = CUDA
) -> Any:
    """Arguments of a forward for latents of ``size`` (frames, height, width)."""
    config, (frames, height, width) = model.config, size

    def tensor(*shape: int) -> torch.Tensor:
        return torch.empty(batch, *shape, dtype=_HALF, device=device)

    arguments: dict[str, Any] = {"timestep": torch.full((batch,), 500, device=device)}
    if family == "wan":
        clip, text = (config.in_channels, *size), (512, config.text_dim)
        image = None if config.image_dim is None else (257, config.image_dim)
        names = {"hidden_states": clip, "encoder_hidden_states": text}
        names |= {} if image is None else {"encoder_hidden_states_image": image}
    else:
        clip = (frames, config.in_channels, height, width)
        names = {
            "hidden_states": clip,
            "encoder_hidden_states": (config.max_text_seq_length, config.text_embed_dim),
        }
        tables = model.rotary_tables(size, references, device)
        arguments |= dict(zip(("image_rotary_emb", "reference_rotary_emb"), tables, strict=True))
        if config.ofs_embed_dim:
            arguments["ofs"] = torch.full((1,), 2.0, dtype=_HALF, device=device)
    for name, shape in names.items():
        arguments[name] = tensor(*shape)
        if references:
            arguments[f"reference_{name}"] = tensor(references, *shape)
    return arguments


def scheduler(family: Family) -> Any:
    """The golden scheduler; its numbers are on the CPU."""
    index = json.loads((GOLDEN / family / "model_index.json").read_text())
    made = getattr(diffusers, index["scheduler"][1]).from_pretrained(GOLDEN / family / "scheduler")
    stock = made.set_timesteps

    def set_timesteps(*args: Any, **kwargs: Any) -> None:
        stock(*args, **kwargs)
        if hasattr(made, "set_begin_index"):
            made.set_begin_index(0)  # it would be looked for among fake numbers

    made.set_timesteps = set_timesteps
    return made


def parts_on_the_cpu(family: Family) -> dict[str, Any]:
    """What of a pipeline holds real numbers; to be made outside of ``fake_cuda``."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(GOLDEN / family / "tokenizer")
    parts: dict[str, Any] = {"scheduler": scheduler(family), "tokenizer": tokenizer}
    if family == "wan":
        processor = transformers.CLIPImageProcessorPil
        parts["image_processor"] = processor.from_pretrained(GOLDEN / family / "image_processor")
    return parts


def pipeline(family: Family, parts: dict[str, Any], device: torch.device = CUDA) -> Any:
    """A golden pipeline in bfloat16 whose weights are fakes."""
    folder, wan = GOLDEN / family, family == "wan"
    vae = diffusers.AutoencoderKLWan if wan else diffusers.AutoencoderKLCogVideoX
    encoder = transformers.UMT5EncoderModel if wan else transformers.T5EncoderModel
    with device:
        models = {
            "vae": vae.from_config(vae.load_config(folder / "vae")),
            "text_encoder": encoder(encoder.config_class.from_pretrained(folder / "text_encoder")),
        }
        if wan:
            config = transformers.CLIPVisionConfig.from_pretrained(folder / "image_encoder")
            models["image_encoder"] = transformers.CLIPVisionModel(config)
    spared = torch.float32 if wan else _HALF
    for name, model in models.items():
        text = name == "text_encoder"
        retype(model, _HALF if text else spared, ("wo",) if text else (), device)
    made = pipeline_class(family)(transformer=transformer(family, device=device), **models, **parts)
    made.set_progress_bar_config(disable=True)
    return made


def call_of(made: Any, references: int = 1, **more: Any) -> dict[str, Any]:
    """Arguments of a call, of the size that a pipeline makes by default."""
    native = made.native_defaults
    size = {name: getattr(native, name) for name in ("height", "width", "num_frames")}
    if made.family == "wan":
        size |= {"height": 32, "width": 32, "num_frames": 5}
    clip = np.zeros((size["num_frames"], size["height"], size["width"], 3), np.uint8)
    call = {
        **size,
        "image": clip[0],
        "prompt": "a cat turns",
        "negative_prompt": "bad",
        "num_inference_steps": 2,
        "guidance_scale": 5.0,
        "generator": torch.Generator().manual_seed(0),
        "output_type": "pt",
    }
    if references:
        call |= {"reference_videos": [clip] * references, "reference_prompts": ["z"] * references}
    return call | more
