"""Components of a folder: each weight comes from a file of it, or the file is named."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import vap
from tests.pipelines.golden import FOLDER
from vap.acceleration.text_encoder import is_unloaded, text_encoder_on_demand
from vap.cost.model import PlannedModel
from vap.files.components import _described, load_component
from vap.files.weights import weights_hash
from vap.loading.pipeline import load_transformer

COMPONENTS = ("transformer", "vae", "text_encoder", "image_encoder")
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER / "wan", tmp_path / "wan"))


def weights_of(folder: Path, component: str) -> Path:
    (file,) = (folder / component).glob("*.safetensors")
    return file


def change(file: Path, edit: Callable[[Tensors, str], object]) -> str:
    """Change one tensor of a file, and say which."""
    tensors = load_file(file)
    name = max(n for n, t in tensors.items() if t.ndim > 1 and n != "shared.weight")
    edit(tensors, name)
    save_file(tensors, file, metadata={"format": "pt"})
    # As transformers calls it since version 5.
    return name.removeprefix("vision_model.")


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_is_built_for_the_check_once_for_equal_configurations(folder: Path) -> None:
    load_component(folder, "vae")
    before = _described.cache_info()
    load_component(folder, "vae")
    rewrite(folder / "vae" / "config.json", temperal_downsample=[True, False])
    with pytest.raises(ValueError, match="vae"):
        load_component(folder, "vae")
    after = _described.cache_info()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 1)


EDITS: dict[str, Callable[[Tensors, str], object]] = {
    "missing": lambda tensors, name: tensors.pop(name),
    "renamed": lambda tensors, name: tensors.update({name + "_": tensors.pop(name)}),
    "another": lambda tensors, name: tensors.update({name + "_": torch.zeros(3)}),
    "cut": lambda tensors, name: tensors.update({name: tensors[name][:-1].clone()}),
    "int8": lambda tensors, name: tensors.update({name: tensors[name].to(torch.int8)}),
    "bool": lambda tensors, name: tensors.update({name: tensors[name] > 0}),
}


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("edit", EDITS)
def test_a_tensor_that_does_not_fit_is_named_with_its_file(
    folder: Path, component: str, edit: str
) -> None:
    file = weights_of(folder, component)
    name = change(file, EDITS[edit])
    with pytest.raises(ValueError, match=name) as refused:
        vap.load_pipeline(folder)
    assert str(file) in str(refused.value)


def test_a_text_encoder_on_demand_is_refused_before_it_is_needed(folder: Path) -> None:
    name = change(weights_of(folder, "text_encoder"), EDITS["missing"])
    with pytest.raises(ValueError, match=name):
        text_encoder_on_demand(folder, torch.float32, torch.device("cpu"))
    assert is_unloaded(text_encoder_on_demand(FOLDER / "wan", torch.float32, torch.device("cpu")))


def test_a_transformer_alone_is_compared_too(folder: Path) -> None:
    name = change(weights_of(folder, "transformer"), EDITS["missing"])
    with pytest.raises(ValueError, match=name):
        load_transformer(folder)


@pytest.mark.parametrize("component", ["vae", "text_encoder"])
@pytest.mark.parametrize("shard", ["{source}", "../{component}/x.safetensors", "x.bin", "x.pt", 3])
def test_an_index_leads_nowhere_but_beside_it(folder: Path, component: str, shard: Any) -> None:
    file = weights_of(folder, component)
    names = load_file(file)
    place = str(shard).format(source=file, component=component) if shard != 3 else 3
    if isinstance(place, str) and not place.startswith("/"):
        shutil.copy(file, file.parent / place)
    file.with_name(f"{file.name}.index.json").write_text(
        json.dumps({"weight_map": dict.fromkeys(names, place)})
    )
    with pytest.raises(ValueError, match=r"index\.json names the shard"):
        vap.load_pipeline(folder)


def test_an_index_that_lists_other_tensors_is_refused(folder: Path) -> None:
    file = weights_of(folder, "vae")
    listed = dict.fromkeys([*load_file(file), "more"], file.name)
    file.with_name(f"{file.name}.index.json").write_text(json.dumps({"weight_map": listed}))
    with pytest.raises(ValueError, match="tensor more"):
        load_component(folder, "vae")


def test_links_are_followed_as_in_the_cache_of_the_hub(folder: Path, tmp_path: Path) -> None:
    expected = weights_hash(folder)
    for file in folder.glob("*/*.safetensors"):
        blob = file.rename(tmp_path / f"{file.parent.name}-{file.name}")
        file.symlink_to(blob)
    assert vap.load_pipeline(folder).family == "wan"
    assert weights_hash(folder) == expected


CONFIGS = {
    "transformer/config.json": {"num_layers": 10**9, "rope_max_seq_len": 10**10, "eps": "small"},
    "vae/config.json": {"num_res_blocks": 10**7, "base_dim": -8, "z_dim": float("nan")},
    "text_encoder/config.json": {"num_layers": 60000, "d_model": [32], "vocab_size": 2**40},
    "image_encoder/config.json": {"num_hidden_layers": 10**9, "image_size": 0},
    "scheduler/scheduler_config.json": {
        "num_train_timesteps": 10**12,
        "flow_shift": "high",
        "predict_x0": None,
    },
    "tokenizer/tokenizer_config.json": {"model_max_length": "many", "pad_token": 3},
    "image_processor/preprocessor_config.json": {"crop_size": {"width": None}, "image_std": False},
    "model_index.json": {
        "vae": ["diffusers", "rm"],
        "text_encoder": ["os", "system"],
        "scheduler": 3,
    },
}


@pytest.mark.parametrize(
    ("file", "key"), [(file, key) for file, values in CONFIGS.items() for key in values]
)
def test_a_value_that_cannot_be_is_an_error_about_its_file(
    folder: Path, file: str, key: str
) -> None:
    rewrite(folder / file, **{key: CONFIGS[file][key]})
    with pytest.raises(ValueError, match=str((folder / file).parent)):
        vap.load_pipeline(folder)


@pytest.mark.parametrize(
    "defaults",
    [{"height": "64"}, {"fps": 0}, {"guidance_scale": float("nan")}, {"num_frames": 10**9}],
)
def test_defaults_of_a_model_are_checked(folder: Path, defaults: dict[str, Any]) -> None:
    rewrite(folder / "model_index.json", generation_defaults=defaults)
    with pytest.raises(ValueError, match=rf"model_index\.json .*{next(iter(defaults))}"):
        vap.load_pipeline(folder)


def test_deep_json_and_loops_of_links_are_refused(folder: Path) -> None:
    config = folder / "vae" / "config.json"
    config.write_text('{"a": ' + "[" * 10**5 + "]" * 10**5 + "}")
    with pytest.raises(ValueError, match=r"vae/config\.json"):
        vap.load_pipeline(folder)
    config.unlink()
    config.symlink_to(config)
    with pytest.raises(FileNotFoundError, match=r"vae/config\.json"):
        vap.load_pipeline(folder)


def test_threads_load_one_after_the_other() -> None:
    loaded: list[Any] = []
    load = lambda: loaded.append(vap.load_pipeline(FOLDER / "wan"))  # noqa: E731
    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 3
    for pipeline in loaded:
        assert not any(p.is_meta for p in pipeline.transformer.parameters())
    assert torch.nn.Module.register_parameter.__qualname__ == "Module.register_parameter"


_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-3, 2**20), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_whatever_is_in_a_configuration_the_error_is_about_it(
    folder: Path, data: st.DataObject
) -> None:
    file = data.draw(st.sampled_from(sorted(folder.glob("**/*.json"))))
    before = file.read_bytes()
    content = json.loads(before)
    key = data.draw(st.sampled_from(sorted(content)))
    rewrite(file, **{key: data.draw(_ODD)})
    try:
        vap.load_pipeline(folder)
    except (ValueError, OSError) as error:
        assert str(folder) in str(error)  # noqa: PT017
    finally:
        file.write_bytes(before)


def test_an_encoder_that_the_transformer_needs_is_missed(folder: Path) -> None:
    rewrite(folder / "model_index.json", image_encoder=[None, None])
    with pytest.raises(ValueError, match=r"model_index\.json names no image_encoder"):
        vap.load_pipeline(folder)
    assert vap.load_pipeline(folder, image_encoder=None).image_encoder is None


def test_a_plan_from_a_damaged_configuration_is_an_error_about_the_folder(folder: Path) -> None:
    rewrite(folder / "transformer" / "config.json", num_layers="many", patch_size=None)
    with pytest.raises(ValueError, match=str(folder)):
        PlannedModel.from_folder(folder, "wan")
