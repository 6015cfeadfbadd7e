"""Checkpoints of random weights in the released layout, which every system can load."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

from benchmarks.measured.weights import fill_module
from benchmarks.sizes import ImageEncoderSize, Size
from vap.shapes import TEXT_TOKENS

_RELEASED_CLASSES = {
    "wan": ("WanImageToVideoMOTPipeline", "WanTransformer3DMOTModel"),
    "cogvideox": ("CogVideoXImageToVideoMOTPipeline", "CogVideoXTransformer3DMOTModel"),
}
_SPECIAL_TOKENS = ("<pad>", "</s>", "<unk>")
_LETTERS = f"\u2581{string.ascii_letters}{string.digits}{string.punctuation}"
_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]


def write_checkpoint(size: Size, folder: Path) -> None:
    """Write a pipeline folder.

    For a size that needs a GPU only configurations are written, and a weight file without a
    tensor in it beside each: its weights are made where they are needed, see
    :mod:`benchmarks.measured.weights`.

    Args:
        size: What to write.
        folder: Where; must not exist.
    """
    folder.mkdir(parents=True)
    _write_scheduler(size, folder / "scheduler")
    _write_tokenizer(size, folder / "tokenizer")
    components = {"transformer": _transformer(size), "vae": _vae(size), **_encoders(size)}
    for name, (model_class, config) in components.items():
        _write_model(folder / name, model_class, config, empty=size.needs_gpu)
    if size.image_encoder is not None:
        _write_image_processor(size.image_encoder, folder / "image_processor")
    pipeline, transformer = _RELEASED_CLASSES[size.family]
    _rename(folder / "transformer" / "config.json", transformer)
    _write_json(folder / "model_index.json", _index(size, pipeline, transformer))


def _write_model(folder: Path, model_class: Any, config: Any, *, empty: bool) -> None:
    if empty:
        _write_description(folder, model_class, config)
        return
    fill_module(_build(model_class, config)).save_pretrained(folder)
    if folder.name == "image_encoder":
        _use_released_names(folder / "model.safetensors")


def _write_description(folder: Path, model_class: Any, config: Any) -> None:
    """A component's configuration, and a weight file that holds nothing."""
    from accelerate import init_empty_weights
    from safetensors.torch import save_file

    if isinstance(config, dict):
        with init_empty_weights(include_buffers=False):
            model: Any = model_class(**config)
        model.save_config(folder)
    else:
        config.save_pretrained(folder)
    stem = "diffusion_pytorch_model" if isinstance(config, dict) else "model"
    save_file({}, folder / f"{stem}.safetensors")


def _use_released_names(weights: Path) -> None:
    """Put back the prefix that CLIP's weights have in the release, and newer versions drop."""
    from safetensors.torch import load_file, save_file

    prefix = "vision_model."
    tensors = load_file(weights)
    named = {f"{prefix}{name.removeprefix(prefix)}": tensor for name, tensor in tensors.items()}
    save_file(named, weights, metadata={"format": "pt"})


def _build(model_class: Any, config: Any) -> Any:
    return model_class(**config) if isinstance(config, dict) else model_class(config)


def _transformer(size: Size) -> tuple[Any, dict[str, Any]]:
    from vap.pipelines.base import pipeline_class

    return pipeline_class(size.family).transformer_class, dict(size.transformer)


def _vae(size: Size) -> tuple[Any, dict[str, Any]]:
    from diffusers import AutoencoderKLCogVideoX, AutoencoderKLWan

    vae_class = AutoencoderKLWan if size.family == "wan" else AutoencoderKLCogVideoX
    return vae_class, dict(size.vae)


def _encoders(size: Size) -> dict[str, tuple[Any, Any]]:
    from transformers import (
        CLIPVisionConfig,
        CLIPVisionModel,
        T5Config,
        T5EncoderModel,
        UMT5Config,
        UMT5EncoderModel,
    )

    classes = {"wan": (UMT5EncoderModel, UMT5Config), "cogvideox": (T5EncoderModel, T5Config)}
    text_class, text_config = classes[size.family]
    heads = max(1, size.text_width // 64)
    config = text_config(
        vocab_size=len(_SPECIAL_TOKENS) + len(_LETTERS),
        d_model=size.text_width,
        d_kv=size.text_width // heads,
        d_ff=2 * size.text_width,
        num_heads=heads,
        num_layers=size.text_layers,
        feed_forward_proj="gated-gelu",
    )
    encoders: dict[str, tuple[Any, Any]] = {"text_encoder": (text_class, config)}
    if size.image_encoder is not None:
        image = size.image_encoder
        vision = CLIPVisionConfig(
            hidden_size=image.width,
            intermediate_size=4 * image.width,
            num_hidden_layers=image.layers,
            num_attention_heads=image.heads,
            image_size=image.image,
            patch_size=image.patch,
            hidden_act="gelu",
        )
        encoders["image_encoder"] = (CLIPVisionModel, vision)
    return encoders


def _write_scheduler(size: Size, folder: Path) -> None:
    from diffusers import CogVideoXDDIMScheduler, UniPCMultistepScheduler

    if size.family == "wan":
        UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ).save_pretrained(folder)
    else:
        CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            snr_shift_scale=1.0,
            timestep_spacing="trailing",
        ).save_pretrained(folder)


def _write_tokenizer(size: Size, folder: Path) -> None:
    """A tokenizer of single letters, in the form of T5's."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = [(token, 0.0) for token in _SPECIAL_TOKENS] + [(x, -1.0) for x in _LETTERS]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    roles = dict(zip(("pad_token", "eos_token", "unk_token"), _SPECIAL_TOKENS, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles).save_pretrained(folder)
    # Every version of transformers reads these fields of a T5 tokenizer.
    described = {
        "tokenizer_class": "T5TokenizerFast",
        **roles,
        "extra_ids": 0,
        "model_max_length": TEXT_TOKENS[size.family],
    }
    _write_json(folder / "tokenizer_config.json", described)


def _write_image_processor(encoder: ImageEncoderSize, folder: Path) -> None:
    folder.mkdir()
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": encoder.image},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": encoder.image, "width": encoder.image},
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "image_mean": _CLIP_MEAN,
        "image_std": _CLIP_STD,
    }
    _write_json(folder / "preprocessor_config.json", settings)


def _index(size: Size, pipeline: str, transformer: str) -> dict[str, Any]:
    scheduler = "UniPCMultistepScheduler" if size.family == "wan" else "CogVideoXDDIMScheduler"
    vae = "AutoencoderKLWan" if size.family == "wan" else "AutoencoderKLCogVideoX"
    text = "UMT5EncoderModel" if size.family == "wan" else "T5EncoderModel"
    index: dict[str, Any] = {
        "_class_name": pipeline,
        "_diffusers_version": "0.34.0.dev0",
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", text],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", transformer],
        "vae": ["diffusers", vae],
    }
    if size.image_encoder is not None:
        index["image_encoder"] = ["transformers", "CLIPVisionModel"]
        index["image_processor"] = ["transformers", "CLIPImageProcessor"]
    return index


def _rename(config: Path, class_name: str) -> None:
    """Give a configuration the released class's name."""
    content = json.loads(config.read_text())
    content["_class_name"] = class_name
    _write_json(config, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
