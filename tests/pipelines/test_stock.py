"""Without a reference, the bits are those of the stock diffusers pipelines."""

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    CogVideoXDPMScheduler,
    CogVideoXImageToVideoPipeline,
    CogVideoXTransformer3DModel,
    FlowMatchEulerDiscreteScheduler,
    WanImageToVideoPipeline,
    WanTransformer3DModel,
)
from PIL import Image

from tests.pipelines.golden import Golden, load
from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel
from vap.models.wan import WanVideoAsPromptTransformer3DModel

STOCK = {
    "wan": (WanImageToVideoPipeline, WanTransformer3DModel),
    "cogvideox": (CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel),
}


def stock_pipeline(pipeline: Any, family: str) -> Any:
    """A stock pipeline and a stock transformer of the same weights."""
    pipeline_class, transformer_class = STOCK[family]
    known = inspect.signature(transformer_class.__init__).parameters
    mine = pipeline.transformer
    transformer = transformer_class(**{k: v for k, v in mine.config.items() if k in known})
    transformer.load_state_dict({k: v for k, v in mine.state_dict().items() if "_mot" not in k})
    components = {**pipeline.components, "transformer": transformer.eval()}
    stock = pipeline_class(**components)
    stock.set_progress_bar_config(disable=True)
    return stock


def on_stock(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments in the types that stock pipelines take."""
    images = {
        name: Image.fromarray(arguments[name])
        for name in ("image", "last_image")
        if isinstance(arguments.get(name), np.ndarray)
    }
    return {name: value for name, value in {**arguments, **images}.items() if name != "fit"}


def assert_same_bits(case: Golden, pipeline: Any, **changes: Any) -> None:
    stock = stock_pipeline(pipeline, case.family)
    expected = case.run(on_stock(case.alone(**changes)), stock)
    assert torch.equal(case.run(case.alone(**changes), pipeline), expected)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guidance_scale": 1.0},
        {"negative_prompt": None},
        {"latents": None},
        {"output_type": "pt"},
        {"num_frames": 5, "latents": None},
    ],
    ids=lambda changes: ",".join(changes) or "golden",
)
def test_bits_are_stock(case: Golden, changes: dict[str, Any]) -> None:
    assert_same_bits(case, case.pipeline, **changes)


def test_half_precision_bits_are_stock(case: Golden) -> None:
    pipeline = load(case.family, dtype=torch.bfloat16)
    stock = stock_pipeline(pipeline, case.family)
    # Both variants' precision is set module by module, as from_pretrained does.
    for name, tensor in pipeline.transformer.state_dict().items():
        if "_mot_ref" not in name:
            module, _, leaf = name.rpartition(".")
            getattr(stock.transformer.get_submodule(module), leaf).data = tensor
    output = case.run(case.alone(latents=None), pipeline)
    assert torch.equal(output, case.run(on_stock(case.alone(latents=None)), stock))


@pytest.mark.parametrize(
    ("family", "scheduler"),
    [
        ("wan", lambda _: FlowMatchEulerDiscreteScheduler(shift=3.0)),
        ("cogvideox", CogVideoXDPMScheduler.from_config),
    ],
    ids=["euler", "dpm"],
)
def test_bits_are_stock_with_another_scheduler(request, family: str, scheduler: Any) -> None:
    pipeline = load(family)
    pipeline.scheduler = scheduler(pipeline.scheduler.config)
    assert_same_bits(request.getfixturevalue(family), pipeline)


def test_dynamic_guidance_is_stock(cogvideox: Golden) -> None:
    assert_same_bits(cogvideox, cogvideox.pipeline, use_dynamic_cfg=True)


def test_eta_is_stock(cogvideox: Golden) -> None:
    assert_same_bits(cogvideox, cogvideox.pipeline, eta=0.5)


def test_several_prompts_for_one_image_are_stock(wan: Golden) -> None:
    changes = {"prompt": ["a cat", "a balloon"], "negative_prompt": ["bad", "bad"], "latents": None}
    assert_same_bits(wan, wan.pipeline, **changes)


def test_several_videos_of_a_backbone_without_image_tokens_are_stock(wan: Golden) -> None:
    # With image tokens, the stock pipeline cannot make several videos of one prompt.
    assert_same_bits(wan, wan_of_design(image_dim=None), num_videos_per_prompt=2, latents=None)


def test_batch_of_images_is_stock(cogvideox: Golden) -> None:
    image = Image.fromarray(cogvideox.inputs["image"])
    arguments = cogvideox.alone(
        image=[image, image.rotate(90)],
        prompt=["a cat", "a balloon"],
        negative_prompt=["bad", "bad"],
        latents=None,
    )
    stock = stock_pipeline(cogvideox.pipeline, "cogvideox")
    expected = cogvideox.run(on_stock({**arguments, "generator": cogvideox.generator()}), stock)
    assert torch.equal(cogvideox.run(arguments), expected)


def wan_of_design(**design: Any) -> Any:
    """The golden pipeline with an untrained transformer of another design."""
    torch.manual_seed(0)
    pipeline = load("wan")
    config = {**pipeline.transformer.config, **design}
    if config["image_dim"] is None:
        config["added_kv_proj_dim"] = None
    model = WanVideoAsPromptTransformer3DModel.from_config(config)
    pipeline.register_modules(transformer=model.eval())
    return pipeline


@pytest.mark.parametrize(
    "design",
    [{"pos_embed_seq_len": 10}, {"image_dim": None}],
    ids=["first-last", "no-image-tokens"],
)
def test_last_image_is_stock(wan: Golden, design: dict[str, Any]) -> None:
    pipeline = wan_of_design(**design)
    last = wan.inputs["second_reference"][-1]
    assert_same_bits(wan, pipeline, last_image=last)
    with_last = wan.run(wan.alone(last_image=last), pipeline)
    other = wan.run(wan.alone(last_image=wan.inputs["image"]), pipeline)
    assert not torch.equal(with_last, other)


def cogvideox_of_1_5() -> Any:
    """The golden pipeline with an untrained transformer in the design of CogVideoX 1.5."""
    torch.manual_seed(0)
    pipeline = load("cogvideox")
    design = {
        "patch_size_t": 2,
        "ofs_embed_dim": 24,
        "use_learned_positional_embeddings": False,
        "patch_bias": False,
    }
    config = {**pipeline.transformer.config, **design}
    model = CogVideoXVideoAsPromptTransformer3DModel.from_config(config)
    pipeline.register_modules(transformer=model.eval())
    pipeline.vae.register_to_config(invert_scale_latents=True)
    return pipeline


def test_1_5_checkpoints_are_stock(cogvideox: Golden) -> None:
    pipeline = cogvideox_of_1_5()
    # Three latent frames are no whole number of patches: one is put before and cut off again.
    assert_same_bits(cogvideox, pipeline, latents=None, output_type="pt")
    prompted = cogvideox.prompted(latents=None)
    assert cogvideox.run(prompted, pipeline).shape == (1, 4, 16, 6, 8)
