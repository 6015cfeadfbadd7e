"""A minimal ComfyUI: what its nodes import, without a server or a page."""

import importlib.util
import sys
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import torch

from vap.media import read_clip

PACK = Path(__file__).parents[2] / "integrations" / "comfyui"


class Interrupted(BaseException):
    """What ComfyUI raises where a node reports progress after the user interrupted."""


@dataclass
class Slot:
    """An input or output of a node."""

    kind: str
    id: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def optional(self) -> bool:
        return self.options.get("optional", False)


class Kind:
    """A type of wires or widgets, with the options that ComfyUI takes."""

    def __init__(self, name: str, *options: str) -> None:
        self.name, self.options = name, {"display_name", "optional", "tooltip", *options}

    def _slot(self, slot_id: str = "", **options: Any) -> Slot:
        assert options.keys() <= self.options, (self.name, options.keys() - self.options)
        return Slot(self.name, slot_id, options)

    Input = Output = _slot


@dataclass
class Schema:
    node_id: str
    display_name: str
    category: str
    description: str
    inputs: list[Slot]
    outputs: list[Slot] = field(default_factory=list)
    is_output_node: bool = False


class NodeOutput:
    def __init__(self, *args: Any) -> None:
        self.args = args


class ComfyNode:
    pass


class VideoFromFile:
    def __init__(self, file: str, part: float = 1.0) -> None:
        self._file, self._part = file, part

    def get_stream_source(self) -> str:
        return self._file

    def get_duration(self) -> float:
        return 2.0 * self._part

    def get_components(self) -> SimpleNamespace:
        frames = torch.from_numpy(read_clip(self._file).frames) / 255
        return SimpleNamespace(images=frames[: round(self._part * len(frames))])


@dataclass
class VideoComponents:
    images: torch.Tensor
    frame_rate: Fraction


class VideoFromComponents:
    def __init__(self, components: VideoComponents) -> None:
        self.components = components

    def get_components(self) -> VideoComponents:
        return self.components


class ProgressBar:
    """Records what is reported, and interrupts after as many steps as it is told to."""

    reports: ClassVar[list[tuple[int, int, Any]]] = []
    last: ClassVar[int | None] = None

    def __init__(self, _: int) -> None:
        self.reports.clear()

    def update_absolute(self, value: int, total: int, preview: Any = None) -> None:
        self.reports.append((value, total, preview))
        if value == self.last:
            raise Interrupted


_NUMBER = ("default", "min", "max", "step", "control_after_generate")
_IO = SimpleNamespace(
    Schema=Schema,
    NodeOutput=NodeOutput,
    ComfyNode=ComfyNode,
    Custom=Kind,
    String=Kind("STRING", "default", "multiline"),
    Int=Kind("INT", *_NUMBER),
    Float=Kind("FLOAT", *_NUMBER),
    Boolean=Kind("BOOLEAN", "default"),
    Combo=Kind("COMBO", "options", "default"),
    Image=Kind("IMAGE"),
    Video=Kind("VIDEO"),
    Latent=Kind("LATENT"),
    ClipVisionOutput=Kind("CLIP_VISION_OUTPUT"),
    MultiType=Kind("MULTI", "types"),
)


def _module(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(contents)
    return module


def modules(base: Path) -> dict[str, ModuleType]:
    """What nodes import, with files below a folder."""
    places: dict[str, tuple[list[str], set[str]]] = {
        name: ([str(base / "models" / name)], {".safetensors"})
        for name in ("loras", "diffusion_models")
    }

    def names(folder: str) -> list[str]:
        paths, suffixes = places[folder]
        files = (file for path in paths for file in sorted(Path(path).glob("*")))
        return [file.name for file in files if file.suffix in suffixes]

    def full_path(folder: str, name: str) -> str:
        for path in places[folder][0]:
            if (Path(path) / name).is_file():
                return str(Path(path) / name)
        raise FileNotFoundError(name)

    def add(name: str, path: str) -> None:
        places.setdefault(name, ([], set()))[0].append(path)

    folder_paths = _module(
        "folder_paths",
        models_dir=str(base / "models"),
        folder_names_and_paths=places,
        add_model_folder_path=add,
        get_folder_paths=lambda name: places[name][0],
        get_filename_list=names,
        get_full_path_or_raise=full_path,
    )
    management = _module(
        "comfy.model_management",
        get_torch_device=lambda: torch.device("cpu"),
        unload_all_models=lambda: None,
        soft_empty_cache=lambda: None,
    )
    utils = _module("comfy.utils", ProgressBar=ProgressBar)
    api = _module(
        "comfy_api.v0_0_2",
        ComfyExtension=object,
        io=_IO,
        Input=SimpleNamespace(Video=object),
        InputImpl=SimpleNamespace(
            VideoFromFile=VideoFromFile, VideoFromComponents=VideoFromComponents
        ),
        Types=SimpleNamespace(VideoComponents=VideoComponents),
    )
    return {
        "comfy": _module("comfy", utils=utils, model_management=management),
        "comfy.utils": utils,
        "comfy.model_management": management,
        "comfy_api": _module("comfy_api", v0_0_2=api),
        "comfy_api.v0_0_2": api,
        "folder_paths": folder_paths,
    }


def load_pack() -> ModuleType:
    """Import the nodes as ComfyUI does: a package at a path, under a name of its own."""
    name = "vap_comfyui_nodes"
    spec = importlib.util.spec_from_file_location(
        name, PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
