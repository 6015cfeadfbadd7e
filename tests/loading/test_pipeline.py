"""From a model's name to its folder: found, checked, and downloaded only when asked for."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.utils import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import vap
from vap.acceleration import fast
from vap.cost import devices
from vap.files import folders, names
from vap.loading import pipeline as loading
from vap.pipelines.base import pipeline_class
from vap.process import quiet_libraries

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("wan", "cogvideox")


@pytest.fixture(autouse=True)
def downloads(monkeypatch) -> list[str]:
    """Hub ids that were asked for; asking fails."""
    asked: list[str] = []

    def refuse(repo_id: str, **_: object) -> str:
        asked.append(repo_id)
        message = "no connection"
        raise LocalEntryNotFoundError(message)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    return asked


@pytest.fixture
def copy(tmp_path):
    """A copy of a golden checkpoint that may be damaged."""

    def make(family: str) -> Path:
        return Path(shutil.copytree(GOLDEN / family, tmp_path / family))

    return make


# Names


@pytest.mark.parametrize("family", FAMILIES)
def test_a_released_folder_loads_as_its_variant(family: str, downloads) -> None:
    pipeline = vap.load_pipeline(GOLDEN / family)
    assert pipeline.family == family
    assert type(pipeline) is pipeline_class(family)
    assert type(pipeline.transformer) is type(pipeline).transformer_class
    assert not downloads


def test_a_path_may_be_text_and_start_at_home(monkeypatch, copy) -> None:
    folder = copy("wan")
    assert names.resolve_folder(str(folder)) == folder
    monkeypatch.setenv("HOME", str(folder.parent))
    assert names.resolve_folder("~/wan") == folder


def test_a_bundled_model_is_found_by_name(monkeypatch, copy, downloads) -> None:
    folder = copy("wan")
    monkeypatch.setattr(names, "BUNDLED_FOLDER", folder.parent)
    assert names.resolve_folder("wan") == folder
    entry = names.known_models()[0]
    assert (entry.name, entry.family, entry.where) == ("wan", "wan", "bundled")
    assert not downloads


def test_a_bundled_name_wins_over_a_folder_that_happens_to_be_here(
    monkeypatch, tmp_path, copy
) -> None:
    folder = copy("wan")
    monkeypatch.setattr(names, "BUNDLED_FOLDER", folder.parent)
    (tmp_path / "here" / "wan").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert names.resolve_folder("wan") == folder
    with pytest.raises(FileNotFoundError, match=r"model_index\.json is missing"):
        names.resolve_folder("./wan")


@pytest.mark.parametrize("name", [".", "..", "demo", "wan/", ""])
def test_no_other_name_is_a_bundled_model(name: str) -> None:
    assert names.bundled_model(name) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_transformer_alone_keeps_its_stored_precision(copy, dtype: torch.dtype) -> None:
    folder = copy("cogvideox")
    loading.load_transformer(folder, dtype=dtype).save_pretrained(folder / "transformer")
    assert loading.load_transformer(folder).dtype == dtype


@pytest.mark.parametrize("wrong", [{"device": "abacus"}, {"offload": "model", "device": "cpu"}])
def test_bad_options_are_refused_before_anything_is_downloaded(downloads, wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        vap.load_pipeline("owner/model", **wrong)
    assert not downloads


def test_released_models_are_known_by_their_hub_ids() -> None:
    released = {entry.name: entry.family for entry in names.known_models() if entry.where == "hub"}
    assert released == {
        "ByteDance/Video-As-Prompt-Wan2.1-14B": "wan",
        "ByteDance/Video-As-Prompt-CogVideoX-5B": "cogvideox",
    }


def test_a_hub_id_is_downloaded_without_anything_that_unpickles(monkeypatch) -> None:
    asked = {}

    def download(repo_id: str, **options: object) -> str | list[object]:
        asked.update(options, repo_id=repo_id)
        return [] if options.get("dry_run") else str(GOLDEN / "wan")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert names.resolve_folder("someone/a-model") == GOLDEN / "wan"
    assert asked["repo_id"] == "someone/a-model"
    assert not any(end in str(asked["allow_patterns"]) for end in ("bin", "pt", "ckpt", "py"))


def test_a_failed_download_is_told_in_whole_sentences(monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("Please try again..")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(FileNotFoundError, match=r"someone/a-model.*again\. Check"):
        names.resolve_folder("someone/a-model")


def test_a_download_larger_than_the_disk_is_refused(monkeypatch) -> None:
    def download(_: str, *, dry_run: bool = False, **__: object) -> list[object]:
        assert dry_run, "it was downloaded"
        return [SimpleNamespace(file_size=10**18, will_download=True)]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ValueError, match=r"someone/a-model needs a download of 1000000000.0 GB"):
        names.resolve_folder("someone/a-model")


def test_a_released_model_that_does_not_fit_is_refused_before_it_is_downloaded(downloads) -> None:
    with pytest.raises(ValueError, match="too little"):
        vap.load_pipeline("wan", memory="2GB")
    assert not downloads


def test_memory_is_planned_by_itself_on_an_accelerator_alone(monkeypatch) -> None:
    monkeypatch.setattr(devices, "budget", lambda memory, _: {"auto": 24, "10GB": 10}[memory])
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert loading._allowed("vap-mini", None, cuda, None, None) == 24
    assert loading._allowed("vap-mini", "10GB", cuda, None, None) == 10
    assert loading._allowed("vap-mini", None, cuda, "group", None) is None
    assert loading._allowed("vap-mini", None, cpu, None, None) is None
    assert loading._allowed("wan", None, cpu, None, None) == 24


def test_a_hub_id_that_cannot_be_had_is_named(downloads) -> None:
    with pytest.raises(FileNotFoundError, match=r"'someone/a-model' could not be.*no conn"):
        names.resolve_folder("someone/a-model")
    assert downloads == ["someone/a-model"]


@pytest.mark.parametrize(
    "name", ["vap-giant", "a/b/c", "./wan", "../wan", "/no/where", "~nobody-1"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, downloads) -> None:
    with pytest.raises(FileNotFoundError, match="vap-mini, wan, cogvideox"):
        names.resolve_folder(name)
    assert not downloads


def test_a_path_is_never_taken_for_a_hub_id(downloads) -> None:
    with pytest.raises(FileNotFoundError, match="no model"):
        names.resolve_folder(Path("someone/a-model"))
    assert not downloads


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=300) | st.from_regex(r"[~./\w-]{1,8}", fullmatch=True))
@example(name="ŵ" * 200)  # few enough characters for the name of a file, and too many bytes
def test_any_name_is_found_or_refused(downloads, name: str) -> None:
    downloads.clear()
    with pytest.raises(FileNotFoundError):
        names.resolve_folder(name)
    assert downloads in ([], [name])


# Folders


def needed_files(family: str) -> list[str]:
    folder = GOLDEN / family
    unneeded = {"expected.json", "expected.safetensors", "special_tokens_map.json"}
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix in {".json", ".safetensors"} and path.name not in unneeded
    )


@pytest.mark.parametrize(
    ("family", "file"), [(family, file) for family in FAMILIES for file in needed_files(family)]
)
def test_each_missing_file_is_named(copy, family: str, file: str) -> None:
    folder = copy(family)
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=file.replace(".", r"\.")):
        names.resolve_folder(folder)


@pytest.mark.parametrize(
    ("family", "file"), [(family, file) for family in FAMILIES for file in needed_files(family)]
)
def test_each_file_cut_short_is_named(copy, family: str, file: str) -> None:
    folder = copy(family)
    contents = (folder / file).read_bytes()
    (folder / file).write_bytes(contents[: len(contents) // 2])
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        names.resolve_folder(folder)


def test_where_to_get_a_missing_file_is_said(copy) -> None:
    folder = copy("wan")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"ByteDance/Video-As-Prompt-Wan2\.1-14B"):
        vap.load_pipeline(folder)


def test_a_missing_shard_is_named(copy) -> None:
    folder = copy("wan")
    pipeline = vap.load_pipeline(folder)
    pipeline.save_pretrained(folder.parent / "sharded", max_shard_size="300KB")
    transformer = folder.parent / "sharded" / "transformer"
    shards = sorted(transformer.glob("*-of-*.safetensors"))
    assert len(shards) > 1
    shards[-1].unlink()
    with pytest.raises(FileNotFoundError, match=shards[-1].name):
        vap.load_pipeline(folder.parent / "sharded")
    index = next(transformer.glob("*.index.json"))
    index.write_text("{}")
    with pytest.raises(ValueError, match="weight_map"):
        vap.load_pipeline(folder.parent / "sharded")


def test_a_folder_of_another_model_is_refused(copy) -> None:
    folder = copy("wan")
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(ValueError, match=r"contains a FluxPipeline.*WanImageToVideoMOTPipeline"):
        names.resolve_folder(folder)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a pipeline folder"):
        names.resolve_folder(tmp_path)


@given(
    content=st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | st.just("WanImageToVideoPipeline"),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["_class_name", "vae", "transformer"]), inner)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_index_is_read_or_refused(tmp_path_factory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("index")
    (folder / "model_index.json").write_bytes(content)
    try:
        folders.check_folder(folder)
    except (ValueError, FileNotFoundError) as error:
        assert str(folder) in str(error)  # noqa: PT017 - refusing is allowed, but in words


# Loading options


@pytest.mark.parametrize("dtype", ["bf16", "bfloat16", torch.bfloat16])
def test_precision_by_name_or_value(dtype) -> None:
    assert vap.load_pipeline(GOLDEN / "wan", dtype=dtype).transformer.dtype == torch.bfloat16


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="dtype='int3' is unknown"):
        vap.load_pipeline(GOLDEN / "wan", dtype="int3")


def test_offloading_from_a_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an accelerator"):
        vap.load_pipeline(GOLDEN / "wan", device="cpu", offload="model")


def test_an_expert_file_replaces_the_checkpoints_own(tmp_path) -> None:
    pipeline = vap.load_pipeline(GOLDEN / "wan")
    other = pipeline.transformer.remove_expert().add_expert([1]).initialize_expert()
    file = other.save_expert(tmp_path / "expert.safetensors")
    assert vap.load_pipeline(GOLDEN / "wan", expert=file).transformer.expert_depths == (1,)


def test_loaded_weights_lie_where_torch_would_put_them() -> None:
    pipeline = vap.load_pipeline(GOLDEN / "cogvideox", device="cpu")
    for name in ("transformer", "vae", "text_encoder"):
        assert not any(p.data_ptr() % 64 for p in getattr(pipeline, name).parameters()), name


@pytest.mark.parametrize("options", [{"profile": "exact"}, {"attention": "native"}])
def test_the_exact_profile_is_applied_when_asked_for(monkeypatch, options: dict) -> None:
    given = {}
    monkeypatch.setattr(fast, "apply_exact", lambda _, **kwargs: given.update(kwargs))
    vap.load_pipeline(GOLDEN / "wan", device="cpu")
    assert not given
    vap.load_pipeline(GOLDEN / "wan", device="cpu", **options)
    assert given == {"compile": False, "attention": options.get("attention")}


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match=r"profile='warp' is unknown\. Use one of: exact"):
        vap.load_pipeline(GOLDEN / "wan", profile="warp")


# Names


def test_the_short_names_stand_for_the_released_models(monkeypatch, tmp_path, downloads) -> None:
    (tmp_path / "wan").mkdir()
    monkeypatch.chdir(tmp_path)  # a folder of that name is meant by ./wan
    for short, name in folders.RELEASED.items():
        with pytest.raises(FileNotFoundError, match=name):
            names.resolve_folder(short)
    assert downloads == list(folders.RELEASED.values())


def test_a_mistyped_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(FileNotFoundError, match="Did you mean 'wan'"):
        names.resolve_folder("wna")
    with pytest.raises(FileNotFoundError, match="Did you mean 'vap-mini'"):
        names.resolve_folder("vap-mni")


@pytest.mark.slow
def test_loading_is_silent_and_leaves_the_libraries_as_they_were() -> None:
    code = (
        "import vap; vap.load_pipeline()\n"
        "from diffusers.utils import logging as d; from transformers.utils import logging as t\n"
        "assert d.is_progress_bar_enabled() and t.is_progress_bar_enabled()\n"
        "assert d.get_verbosity() == t.get_verbosity() == d.WARNING"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_bars_of_downloads_stay() -> None:
    enable_progress_bars()
    with quiet_libraries():
        assert not are_progress_bars_disabled()
    disable_progress_bars()  # as for all tests
