"""Components of a pipeline folder: every parameter comes from a file there, or it is an error."""

from __future__ import annotations

import inspect
import itertools
import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from vap.files.folders import class_name_of, read_json, stored_tensors, weight_files
from vap.files.reading import one_at_a_time, reading
from vap.files.weights import StoredTensor, is_floating, shape_difference
from vap.process import quiet_libraries

# Loading options that diffusers takes for a pipeline and for a model alike.
_SHARED_OPTIONS = ("variant", "low_cpu_mem_usage", "device_map", "max_memory", "disable_mmap")
# No number in a configuration is higher, unless a tensor in the files is as long.
_HIGHEST_NUMBER = 2**16
# How many parameters and modules are made for each tensor in the files, at most.
_MADE_FOR_EACH, _MADE_ANYWAY = 16, 4096


@one_at_a_time
def load_component(folder: Path, name: str, kind: Any = None, **options: Any) -> Any:
    """Load one component of a pipeline folder, by default of the class in ``model_index.json``.

    Options are those of the library's ``from_pretrained``. On ``device_map="meta"`` a text or image
    encoder is compared with its files, and no weights are read.
    """
    import diffusers
    import transformers

    place = folder / name
    with reading(place):
        kind = kind or component_class(folder, name)
        if issubclass(kind, diffusers.ModelMixin):
            return _diffusers_model(kind, place, **options)
        if issubclass(kind, transformers.PreTrainedModel):
            return _transformers_model(kind, place, **options)
        if issubclass(kind, diffusers.SchedulerMixin):
            return _scheduler(kind, place)
        return _tried(kind.from_pretrained(place))


def load_components(folder: Path, pipeline: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Load the components of a pipeline folder that are not given."""
    index = read_json(folder / "model_index.json")
    loaded = {}
    for name in inspect.signature(pipeline.__init__).parameters:
        if name in options or not isinstance(index.get(name), list) or index[name][:1] == [None]:
            continue
        kind = pipeline.own_classes().get(name)
        loaded[name] = load_component(folder, name, kind, **_component_options(name, options))
    parts = {**loaded, **options}
    read = getattr(parts.get("transformer"), "config", None)
    reads_images = getattr(read, "image_dim", None) is not None
    if reads_images and "image_encoder" not in parts:
        raise ValueError(
            f"{folder / 'model_index.json'} names no image_encoder, which the transformer needs. "
            "Copy the folder again, or give image_encoder=None to run without it."
        )
    return loaded


def _component_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What of a pipeline's loading options concerns one component."""
    chosen = {option: options[option] for option in _SHARED_OPTIONS if option in options}
    dtype = options.get("dtype", options.get("torch_dtype"))
    if isinstance(dtype, dict):
        dtype = dtype.get(name, dtype.get("default"))
    chosen["dtype"] = dtype
    quantization = options.get("quantization_config")
    if quantization is not None:
        resolved = quantization._resolve_quant_config(
            is_diffusers=not name.endswith("encoder"), module_name=name
        )
        if resolved is not None:
            chosen["quantization_config"] = resolved
    return chosen


def component_class(folder: Path, name: str) -> Any:
    """The class that ``model_index.json`` names for a component."""
    import diffusers
    import transformers

    library, class_name = class_name_of(folder, name)
    source = {"diffusers": diffusers, "transformers": transformers}.get(library)
    kind = getattr(source, class_name, None)
    if not isinstance(kind, type) or not hasattr(kind, "from_pretrained"):
        raise ValueError(
            f"{folder / 'model_index.json'} gives {name} the class {class_name!r} of {library!r}. "
            "It must be a class of diffusers or transformers that loads from files. Correct it."
        )
    return kind


def _diffusers_model(kind: Any, place: Path, **options: Any) -> Any:
    config = read_json(place / "config.json")
    variant = options.pop("variant", None)
    stored = stored_tensors(place, variant)
    check_config(place / "config.json", config, kind, stored)
    if variant and any(f".{variant}" in tensor.file.name for tensor in stored.values()):
        options["variant"] = variant
    if not _quantized(config, options):
        with _building(place, len(stored)):
            wanted = _described(kind, json.dumps(config))
        check_stored(place, stored, wanted)
    return kind.from_pretrained(place, **{**options, "use_safetensors": True})


@lru_cache(maxsize=16)
def _described(kind: Any, config: str) -> dict[str, torch.Tensor]:
    """The tensors of a model by its configuration, without data; built once for equal ones."""
    with torch.device("meta"):
        tensors: dict[str, torch.Tensor] = kind.from_config(json.loads(config)).state_dict()
    return tensors


def _transformers_model(kind: Any, place: Path, **options: Any) -> Any:
    """A model of transformers, which is handed configuration and tensors and opens no file."""
    content = read_json(place / "config.json")
    variant = options.pop("variant", None)
    stored = stored_tensors(place, variant)
    check_config(place / "config.json", content, None, stored)
    config = kind.config_class.from_pretrained(place)
    state: dict[str, torch.Tensor] = {}
    for file in weight_files(place, variant):
        state.update(load_file(file))

    def load(**more: Any) -> Any:
        return kind.from_pretrained(
            None,
            config=config,
            state_dict=dict(state),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **more,
        )

    if not _quantized(content, options):
        # Without weights first: what does not fit would be initialized again, at any size.
        with quiet_libraries(), _building(place, len(stored)):
            model, found = load(dtype=options.get("dtype"), device_map="meta")
        _check_found(place, stored, found, model.state_dict())
        if options.get("device_map") == "meta":
            return model
    return load(**options)[0]


def _scheduler(kind: Any, place: Path) -> Any:
    path = place / "scheduler_config.json"
    with reading(path):
        config = read_json(path)
        check_config(path, config, kind, {})
        scheduler, trial = kind.from_pretrained(place), kind.from_config(config)
        if not config.get("use_dynamic_shifting"):
            trial.set_timesteps(2)
            step = inspect.signature(trial.step).parameters
            if "old_pred_original_sample" not in step:
                trial.step(
                    torch.zeros(1, 1, 2, 2, 2), trial.timesteps[0], torch.zeros(1, 1, 2, 2, 2)
                )
        steps = [getattr(trial, name, None) for name in ("timesteps", "sigmas", "alphas_cumprod")]
        if any(isinstance(part, torch.Tensor) and part.isnan().any() for part in steps):
            raise ValueError(f"{path} gives non-finite noise levels. Correct it.")
    return scheduler


def _tried(processor: Any) -> Any:
    """A tokenizer or image processor that has worked once: much of its files is used first then."""
    import transformers

    if isinstance(processor, transformers.PreTrainedTokenizerBase):
        processor("a")
        processor("a", padding="max_length", max_length=8, truncation=True)
    elif isinstance(processor, transformers.BaseImageProcessor):
        pixels = processor(images=Image.new("RGB", (8, 8)), return_tensors="pt").pixel_values
        if not pixels.isfinite().all():
            raise ValueError("pixels that are not finite")
    return processor


def check_config(
    path: Path, config: Mapping[str, Any], kind: Any, stored: Mapping[str, StoredTensor]
) -> None:
    """Refuse values of another type than the defaults of a class's arguments, or huge ones."""
    highest = max([_HIGHEST_NUMBER, *(max(t.shape, default=0) for t in stored.values())])
    known = {} if kind is None else inspect.signature(kind.__init__).parameters
    for key, value in config.items():
        if key.startswith("_"):
            continue
        number = next((n for n in _numbers(value) if abs(n) > highest and not math.isinf(n)), None)
        if number is not None or any(math.isnan(n) for n in _numbers(value)):
            raise ValueError(
                f"{path} has {key}={value!r:.80}, which is too large for any tensor here. Correct "
                "it."
            )
        default = known[key].default if key in known else None
        unset = value is None and _form(default) != "a number"
        if _form(default) is not None and not unset and _form(value) != _form(default):
            raise ValueError(
                f"{path} has {key}={value!r:.80}, which should be {_form(default)}. Correct it."
            )


def check_stored(
    place: Path, stored: Mapping[str, StoredTensor], wanted: Mapping[str, torch.Tensor]
) -> None:
    """Compare the tensors of a component's files with those that its configuration describes."""
    difference = shape_difference(
        {name: tensor.shape for name, tensor in stored.items()},
        {name: tensor.shape for name, tensor in wanted.items()},
    )
    if difference is not None:
        name, found, described = difference
        raise ValueError(_misfit(place, stored, name, found, described))
    _check_floating(stored, wanted)


def _check_found(
    place: Path,
    stored: Mapping[str, StoredTensor],
    found: Mapping[str, Any],
    state: Mapping[str, torch.Tensor],
) -> None:
    """The same check from transformers' loading report, which knows alternative tensor names."""
    for name in sorted(found["missing_keys"]):
        raise ValueError(_misfit(place, stored, name, "absent", f"{tuple(state[name].shape)}"))
    for name in sorted(found["unexpected_keys"]):
        shape = stored[name].shape if name in stored else "there"
        raise ValueError(_misfit(place, stored, name, f"{shape}", "absent"))
    for name, shape, described in sorted(found["mismatched_keys"]):
        raise ValueError(_misfit(place, stored, name, f"{tuple(shape)}", f"{tuple(described)}"))
    _check_floating(stored, state)


def _misfit(
    place: Path, stored: Mapping[str, StoredTensor], name: str, found: str, described: str
) -> str:
    files = sorted({tensor.file for tensor in stored.values()})
    file = stored[name].file if name in stored else files[0] if len(files) == 1 else place
    return (
        f"{file} does not fit its config.json: the tensor {name} is {found} in the file, and "
        f"{described} by the configuration. Copy both again from where the model came from."
    )


def _check_floating(stored: Mapping[str, StoredTensor], wanted: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in stored.items():
        table = name in wanted and not wanted[name].is_floating_point()
        if not is_floating(tensor.dtype) and not table and not name.endswith("position_ids"):
            raise ValueError(
                f"{tensor.file}: the tensor {name} is stored as {tensor.dtype}, and weights are "
                "read in floating types (F32, BF16, F16, F8_…). Convert it, or copy it again."
            )


@contextmanager
def _building(place: Path, tensors: int) -> Iterator[None]:
    """Stop a configuration that describes far more than the files hold before it is built."""
    made, thread = itertools.count(1), threading.get_ident()
    most = _MADE_FOR_EACH * tensors + _MADE_ANYWAY

    def count(*_: Any) -> None:
        if threading.get_ident() == thread and next(made) > most:
            raise ValueError(
                f"{place / 'config.json'} describes far more tensors than the {tensors} in the "
                "weight files. Copy both again from the model's source."
            )

    hooks = (
        nn.modules.module.register_module_parameter_registration_hook(count),
        nn.modules.module.register_module_module_registration_hook(count),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _quantized(config: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """Whether weights are stored or made quantized by the library, which then knows its names."""
    return any(part.get("quantization_config") is not None for part in (config, options))


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, dict):
        yield from _numbers(list(value.values()))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _form(value: Any) -> str | None:
    """The kind of a value, in words; None for kinds that need no check."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    forms = ((str, "text"), ((list, tuple), "a list"), (dict, "an object"))
    return next((words for kinds, words in forms if isinstance(value, kinds)), None)
