"""The nodes for ComfyUI: their schemas, and their videos with the bundled model."""

import asyncio
import inspect
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import vap
from tests.integrations.comfyui_standin import (
    PACK,
    Interrupted,
    ProgressBar,
    VideoFromFile,
    load_pack,
    modules,
)
from tests.loading.test_backbones import backbone_tensors, makers_name
from tests.pipelines.golden import FAMILIES, FOLDER
from vap.effects.library import find_effect
from vap.generation.request import demo_request
from vap.generation.run import generate
from vap.media import read_image

EXAMPLES = sorted((PACK / "example_workflows").glob("*.json"))
LORA = "diffusion_model.blocks.0.self_attn.q.lora_{}.weight"
DEMO = demo_request()
WIDGETS = {"STRING", "INT", "FLOAT", "BOOLEAN", "COMBO"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "models/loras").mkdir(parents=True)
    drawer = torch.Generator().manual_seed(0)
    width = vap.load_pipeline().transformer.config
    width = width.num_attention_heads * width.attention_head_dim
    parts = {"down": (4, width), "up": (width, 4)}
    lora = {LORA.format(p): 0.1 * torch.randn(s, generator=drawer) for p, s in parts.items()}
    save_file(lora, folder / "models/loras/lora.safetensors")
    return folder


@pytest.fixture(scope="module")
def pack(base: Path) -> Iterator[ModuleType]:
    before = dict(sys.modules)
    sys.modules.update(modules(base))
    try:
        pack = load_pack()
        asyncio.run(pack.comfy_entrypoint())
        yield pack
    finally:
        for name in sys.modules.keys() - before.keys():
            if name.startswith(("vap_comfyui_nodes", "comfy", "folder_paths")):
                del sys.modules[name]


@pytest.fixture(scope="module")
def run(pack: ModuleType) -> Any:
    """Execute a node by its id, with the defaults of its widgets."""
    nodes = {node.define_schema().node_id: node for node in pack.NODES}

    def execute(node_id: str, **given: Any) -> tuple[Any, ...]:
        node = nodes[node_id]
        widgets = {
            slot.id: slot.options.get("default", (slot.options.get("options") or [None])[0])
            for slot in node.define_schema().inputs
            if slot.kind in WIDGETS
        }
        with torch.inference_mode():
            return node.execute(**{**widgets, **given}).args

    return execute


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.from_numpy(np.array(read_image(DEMO.image)))[None] / 255


@pytest.fixture(scope="module")
def references(run: Any) -> Any:
    video = VideoFromFile(str(DEMO.references[0]))
    return run("VapReference", video=video, caption=DEMO.reference_prompts[0])[0]


def video_of(run: Any, model: Any, image: Any, prompt: Any, **settings: Any) -> np.ndarray:
    """The frames of sampling and decoding, in 8 bits."""
    given = {"prompt": DEMO.prompt, "seed": DEMO.seed, **settings}
    (latent,) = run("VapSample", model=model, image=image, video_prompt=prompt, **given)
    images, video = run("VapDecode", model=model, latent=latent)
    assert video.get_components().images is images
    assert video.get_components().frame_rate in {8, 16}
    # As ComfyUI's nodes write them.
    return np.clip(255.0 * images.numpy(), 0, 255).astype(np.uint8)


def test_schemas_are_those_of_their_functions(pack: ModuleType) -> None:
    schemas = [node.define_schema() for node in pack.NODES]
    assert len({schema.node_id for schema in schemas}) == len(schemas)
    for node, schema in zip(pack.NODES, schemas, strict=True):
        ids = [slot.id for slot in schema.inputs] + [slot.id for slot in schema.outputs if slot.id]
        assert len(set(ids)) == len(ids)
        taken = inspect.signature(node.execute).parameters
        assert set(taken) == {slot.id for slot in schema.inputs}
        for slot in schema.inputs:
            has_default = taken[slot.id].default is not inspect.Parameter.empty
            assert has_default == slot.optional
            options = slot.options.get("options")
            assert options is None or slot.options.get("default", options[0]) in options


def test_frames_are_those_of_the_command_line(run: Any, image: Any, references: Any) -> None:
    (model,) = run("VapLoadModel")
    (prompt,) = run("VapEncode", model=model, references=references)
    made = video_of(run, model, image, prompt)
    assert (made == generate(DEMO).frames).all()
    total = len(ProgressBar.reports)
    assert [report[:2] for report in ProgressBar.reports] == [
        (step, total) for step in range(1, total + 1)
    ]
    assert all(preview[1].size == (512, 341) for *_, preview in ProgressBar.reports)


def test_settings_and_a_lora_are_those_of_a_request(
    run: Any, image: Any, references: Any, base: Path
) -> None:
    (model,) = run("VapLoadModel")
    (patched,) = run("VapLora", model=model, lora="lora.safetensors", strength=0.5)
    (prompt,) = run("VapEncode", model=patched, references=references)
    settings = {"strength": 0.8, "reference_guidance_scale": 1.5, "seed": 5}
    made = video_of(run, patched, image, prompt, steps=2, **settings)
    lora = {"lora": (base / "models/loras/lora.safetensors",), "lora_scales": (0.5,)}
    expected = generate(replace(DEMO, **settings, **lora, num_inference_steps=2)).frames
    assert (made == expected).all()


@pytest.mark.parametrize(
    "options", [{"profile": "turbo"}, {"quantize": "int8"}, {"memory": "2GB"}], ids=str
)
def test_ways_to_load_are_those_of_a_request(
    run: Any, image: Any, references: Any, options: dict[str, str]
) -> None:
    (model,) = run("VapLoadModel", **options)
    (prompt,) = run("VapEncode", model=model, references=references)
    assert (video_of(run, model, image, prompt) == generate(replace(DEMO, **options)).frames).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_both_variants_run(run: Any, image: Any, references: Any, family: str) -> None:
    (model,) = run("VapLoadModel", model=str(FOLDER / family))
    size = {"height": 48, "width": 64, "num_frames": 9}
    last = {"last_image": image} if family == "wan" else {}
    (prompt,) = run(
        "VapEncode", model=model, references=references, **size, has_last_frame=bool(last)
    )
    made = video_of(run, model, image, prompt, steps=2, **last)
    request = replace(DEMO, model=str(FOLDER / family), **size, num_inference_steps=2)
    if last:
        request = replace(request, last_image=DEMO.image)
    assert (made == generate(request).frames).all()


def test_a_file_of_comfyui_is_the_backbone(
    run: Any, image: Any, references: Any, base: Path
) -> None:
    place = base / "models/diffusion_models"
    place.mkdir(exist_ok=True)
    stored = {makers_name(name): tensor for name, tensor in backbone_tensors().items()}
    save_file(stored, place / "wan.safetensors")
    shutil.copy(base / "models/loras/lora.safetensors", place)
    model = {"model": str(FOLDER / "wan")}
    (own,), (read,) = (
        run("VapLoadModel", **model, backbone=file) for file in ("none", "wan.safetensors")
    )
    size = {"height": 48, "width": 64, "num_frames": 9}
    (prompt,) = run("VapEncode", model=own, references=references, **size)
    expected, made = (video_of(run, each, image, prompt, steps=2) for each in (own, read))
    # Weights of a mapped file may be aligned otherwise, which some kernels round otherwise.
    assert np.abs(made.astype(int) - expected).max() <= 1
    (lora,) = run("VapLoadModel", **model, backbone="lora.safetensors")
    with pytest.raises(ValueError, match=r"lora\.safetensors is a LoRA"):
        run("VapSample", model=lora, image=image, video_prompt=prompt)


def test_references_come_in_any_form(run: Any, references: Any, tmp_path: Path) -> None:
    (model,) = run("VapLoadModel")
    frames = vap.media.read_clip(DEMO.references[0]).frames
    caption = DEMO.reference_prompts[0]
    (both,) = run(
        "VapReference", video=torch.from_numpy(frames) / 255, caption=caption, previous=references
    )
    (joint,) = run("VapEncode", model=model, references=both)
    (one,) = run("VapEncode", model=model, references=references)
    (joined,) = run("VapJoinVideoPrompts", first=one, second=one)
    assert len(joint) == len(joined) == 2
    for name, tensor in joint.tensors.items():
        assert torch.equal(tensor[0], tensor[1])
        assert torch.allclose(tensor, joined.tensors[name], atol=1e-5)


def test_a_part_of_a_file_is_only_that_part(run: Any) -> None:
    part = VideoFromFile(str(DEMO.references[0]), part=0.5)
    ((reference,),) = run("VapReference", video=part, caption="")
    frames = vap.media.read_clip(DEMO.references[0]).frames
    assert (reference.clip == frames[: round(len(frames) / 2)]).all()


def test_video_prompts_are_saved_and_loaded(run: Any, references: Any, pack: ModuleType) -> None:
    (model,) = run("VapLoadModel")
    (prompt,) = run("VapEncode", model=model, references=references, width=64, num_frames=9)
    run("VapSaveVideoPrompt", video_prompt=prompt, name="mine")
    (loaded,) = run("VapLoadVideoPrompt", name="mine.safetensors")
    assert loaded.shape == prompt.shape == vap.shapes.PixelShape(9, 64, 64)
    assert loaded.captions == DEMO.reference_prompts
    with pytest.raises(ValueError, match="Choose the file"):
        run("VapLoadVideoPrompt", name="none")


@pytest.mark.parametrize("name", ["", "..", "../mine", "a/b", "a\\b", "/mine"])
def test_video_prompts_are_saved_in_their_folder_alone(run: Any, name: str) -> None:
    with pytest.raises(ValueError, match="is not a file name"):
        run("VapSaveVideoPrompt", video_prompt=None, name=name)


def test_an_effect_is_loaded_and_saved(
    run: Any, references: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (model,) = run("VapLoadModel")
    given = {"name": "mine", "strength": 0.5, "reference_guidance_scale": 3.0}
    run("VapSaveEffect", references=references, **given)
    with pytest.raises(FileExistsError):
        run("VapSaveEffect", references=references, **given)
    assert find_effect("mine").reference_prompt == DEMO.reference_prompts[0]
    prompt, text, *settings = run("VapLoadEffect", model=model, effect="mine", subject="a cat")
    assert prompt.captions == DEMO.reference_prompts
    assert text == "a cat"
    assert settings == [0, 0.5, 0.0, 3.0]
    with pytest.raises(ValueError, match="References: 2"):
        run("VapSaveEffect", references=(*references, *references), **given)


def test_missing_captions_are_written(
    run: Any, image: Any, references: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model,) = run("VapLoadModel")
    captioned, prompt = run(
        "VapWritePrompts", model=model, references=references, image=image, prompt="a cat"
    )
    assert [each.caption for each in captioned] == [*DEMO.reference_prompts]
    assert prompt == "a cat"

    def write(files: list[Path], picture: Path, **given: Any) -> Any:
        assert [file.is_file() for file in [*files, picture]] == [True] * 3
        assert given["model"] == "vap-mini"
        return SimpleNamespace(reference_prompts=("one", "two"), prompt="three")

    monkeypatch.setattr(vap, "write_prompts", write)
    frames = vap.media.read_clip(DEMO.references[0]).frames[:5]
    (both,) = run(
        "VapReference", video=torch.from_numpy(frames) / 255, caption="", previous=references
    )
    captioned, prompt = run("VapWritePrompts", model=model, references=both, image=image)
    assert [each.caption for each in captioned] == ["one", "two"]
    assert prompt == "three"


def test_an_interrupted_run_leaves_the_model_as_it_was(
    run: Any, image: Any, references: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model,) = run("VapLoadModel")
    (prompt,) = run("VapEncode", model=model, references=references)
    monkeypatch.setattr(ProgressBar, "last", 2)
    with pytest.raises(Interrupted):
        run("VapSample", model=model, image=image, video_prompt=prompt)
    monkeypatch.setattr(ProgressBar, "last", None)
    assert (video_of(run, model, image, prompt) == generate(DEMO).frames).all()


def test_the_backbone_runs_alone_with_an_image_encoding(run: Any, image: Any) -> None:
    (model,) = run("VapLoadModel")
    alone = video_of(run, model, image, None, steps=1)
    config = vap.load_pipeline().image_encoder.config
    tokens = (config.image_size // config.patch_size) ** 2 + 1
    encoding = SimpleNamespace(penultimate_hidden_states=torch.ones(1, tokens, config.hidden_size))
    other = video_of(run, model, image, None, steps=1, clip_vision_output=encoding)
    assert alone.shape == other.shape
    assert (alone != other).any()


def test_one_model_is_loaded_at_a_time(
    run: Any, image: Any, references: Any, pack: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = sys.modules["vap_comfyui_nodes.nodes.loaded"]
    loaded.free()
    loads = []
    load = vap.load_pipeline

    def counted(name: str, **options: Any) -> Any:
        loads.append(options["lora"])
        return load(name, **options)

    monkeypatch.setattr(vap, "load_pipeline", counted)
    (model,) = run("VapLoadModel")
    (patched,) = run("VapLora", model=model, lora="lora.safetensors", strength=1.0)
    assert run("VapLora", model=model, lora="none")[0] == model
    (prompt,) = run("VapEncode", model=patched, references=references, width=32, height=32)
    (latent,) = run("VapSample", model=patched, image=image, video_prompt=prompt, steps=1)
    run("VapDecode", model=model, latent=latent, keep_model=False)
    assert len(loads) == 1
    run("VapDecode", model=model, latent=latent)
    assert loads[1:] == [()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_the_same_graph_twice(path: Path, pack: ModuleType) -> None:
    """A workflow has the nodes, values and links of its API file; its picture lies beside it."""
    workflow = json.loads(path.read_text())
    graph = json.loads((path.parent / "api" / path.name).read_text())
    assert path.with_suffix(".jpg").is_file()
    nodes = {str(node["id"]): node for node in workflow["nodes"]}
    assert {key: node["type"] for key, node in nodes.items()} == {
        key: node["class_type"] for key, node in graph.items()
    }
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    for key, node in nodes.items():
        given = graph[key]["inputs"]
        linked = {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot["link"]}
        assert linked == {name: value for name, value in given.items() if name in linked}
        values = [value for name, value in given.items() if name not in linked]
        assert all(value in node["widgets_values"] for value in values)


def test_the_pack_depends_on_the_wheel_alone() -> None:
    described = tomllib.loads((PACK / "pyproject.toml").read_text())["project"]
    assert described["dependencies"] == [f"video-as-prompt>={vap.__version__}"]
    assert (PACK / "requirements.txt").read_text().split() == described["dependencies"]
    assert described["version"] == vap.__version__


@pytest.mark.slow
@pytest.mark.skipif("VAP_COMFYUI" not in os.environ, reason="VAP_COMFYUI names no checkout")
@pytest.mark.timeout(900)
def test_a_real_comfyui_makes_the_frames_of_the_command_line() -> None:
    """``VAP_COMFYUI`` is a checkout of ComfyUI, and ``VAP_COMFYUI_PYTHON`` its Python."""
    python = os.environ.get("VAP_COMFYUI_PYTHON", sys.executable)
    subprocess.run([python, PACK / "check.py", os.environ["VAP_COMFYUI"]], check=True)
