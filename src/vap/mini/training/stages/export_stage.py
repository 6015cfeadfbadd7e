"""Stage ``export``: one pipeline folder in the released layout, weights in half precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler
from diffusers import __version__ as diffusers_version
from safetensors import safe_open
from transformers import CLIPVisionModel, UMT5EncoderModel

from vap.acceleration.student import STUDENT
from vap.files.shared import EXPERT_FILE
from vap.files.weights import LORA_FILE, save_tensors
from vap.mini.training.earlier import output_of
from vap.mini.training.mini_recipe import ExportStage
from vap.models.detail import DetailTransfer
from vap.models.wan import WanVideoAsPromptTransformer3DModel

_COPIED = ("tokenizer", "image_processor")
_COMPONENTS = {
    "detail": ("vap", "DetailTransfer"),
    "image_encoder": ("transformers", "CLIPVisionModel"),
    "image_processor": ("transformers", "CLIPImageProcessor"),
    "scheduler": ("diffusers", "UniPCMultistepScheduler"),
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "T5TokenizerFast"),
    "transformer": ("diffusers", "WanVideoAsPromptTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLWan"),
}


def run(recipe: ExportStage) -> Path:
    """Gather the parts that the earlier stages wrote."""
    output = recipe.output
    vae, backbone = output_of("vae", recipe.vae), output_of("backbone", recipe.backbone)
    expert = output_of("expert", recipe.expert)
    output.mkdir(parents=True, exist_ok=True)
    transformer = WanVideoAsPromptTransformer3DModel.from_pretrained(backbone / "transformer")
    models = {
        "transformer": transformer.load_expert(expert / EXPERT_FILE),
        "vae": AutoencoderKLWan.from_pretrained(vae),
        "text_encoder": UMT5EncoderModel.from_pretrained(backbone / "text_encoder"),
        "image_encoder": CLIPVisionModel.from_pretrained(backbone / "image_encoder"),
    }
    if recipe.detail is not None:
        models["detail"] = DetailTransfer.from_pretrained(
            output_of("detail", recipe.detail) / "detail"
        )
    for name, model in models.items():
        model.to(torch.float16).save_pretrained(output / name)
        _forget_origin(output / name / "config.json")
    if recipe.student is not None:
        _store_student(output_of("distill", recipe.student) / LORA_FILE, output / STUDENT)
    for name in _COPIED:
        shutil.copytree(backbone / name, output / name, dirs_exist_ok=True)
    scheduler = UniPCMultistepScheduler.from_pretrained(
        backbone, subfolder="scheduler", flow_shift=recipe.flow_shift
    )
    scheduler.save_pretrained(output / "scheduler")
    index = {
        "_class_name": "WanVideoAsPromptPipeline",
        "_diffusers_version": diffusers_version,
        "generation_defaults": recipe.generation_defaults,
    }
    components = {name: _COMPONENTS[name] for name in sorted({*models, *_COPIED, "scheduler"})}
    content = json.dumps(index | components, indent=2) + "\n"
    (output / "model_index.json").write_text(content, encoding="utf-8")
    return output


def _store_student(weights: Path, folder: Path) -> None:
    """A student in half precision, with what its file says of it."""
    with safe_open(weights, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name).half() for name in opened.keys()}  # noqa: SIM118 - not a dict
        notes = opened.metadata()
    save_tensors(tensors, folder / LORA_FILE, notes)


def _forget_origin(config: Path) -> None:
    """Drop the folder that a part was loaded from: a place on this machine."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
