"""Names and files of settings."""

import subprocess
import sys
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vap.evaluation.metrics.registry import METRICS
from vap.evaluation.registry import described
from vap.evaluation.systems.registry import SYSTEMS


@pytest.mark.parametrize("registry", [SYSTEMS, METRICS], ids=["systems", "metrics"])
def test_all_that_is_ready_made_is_valid_and_can_be_described(registry):
    items = [registry.read(name) for name in registry.names()]
    assert [item.name for item in items] == registry.names()
    for item in items:
        assert registry.build(described(item), "again") == item
        assert item.title


def test_names_and_files_are_read(tmp_path):
    (tmp_path / "fast.yaml").write_text("kind: vap\nmodel: vap-mini\nprofile: fast\n")
    named, own = SYSTEMS.read_all(["vap-mini", str(tmp_path / "fast.yaml")])
    assert (named.name, own.name, own.request.profile) == ("vap-mini", "fast", "fast")
    (tmp_path / "other.yaml").write_text("kind: static\nname: fast\n")
    with pytest.raises(ValueError, match="fast"):
        SYSTEMS.read_all([str(tmp_path / "fast.yaml"), str(tmp_path / "other.yaml")])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kind: vpa", "'vap'"),
        ("kind: static\nmodel: x", "'model'"),
        ("kind: vap\nsteps: 5\nmodel: x", "'steps'"),
        ("kind: vap\nnum_inference_steps: many", "num_inference_steps"),
        ("kind: static\nname: a/b", "name"),
        ("- kind: static", "mapping"),
        ("kind: [static", "YAML"),
        ("", "mapping"),
    ],
)
def test_faulty_files_are_named_with_the_fix(text, named, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)mine\.yaml.*{named}"):
        SYSTEMS.read(str(path))


@pytest.mark.parametrize("name", ["vap-mimi", "../configs/static", "static.yaml", "", "a\0b"])
def test_unknown_names_are_refused(name):
    with pytest.raises(FileNotFoundError, match="vap-mini"):
        SYSTEMS.read(name)


_SETTINGS = st.dictionaries(
    st.sampled_from(["kind", "name", "title", "model", "batch", "captions", "lora", "seed"])
    | st.text(max_size=6),
    st.none() | st.integers() | st.text(max_size=6) | st.lists(st.text(max_size=4), max_size=2),
)


@given(_SETTINGS, st.sampled_from(["vap", "i2v", "static", "autoencoder"]))
@settings(max_examples=100, deadline=None)
def test_any_settings_are_read_or_refused(config, kind):
    with suppress(ValueError):
        assert SYSTEMS.build({**config, "kind": kind}, "x.yaml").kind == kind


@given(st.text(max_size=60) | _SETTINGS.map(yaml.safe_dump))
@settings(max_examples=60, deadline=None)
def test_any_file_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("settings") / "mine.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with suppress(ValueError):
        SYSTEMS.read(str(path))


def test_registries_import_no_torch():
    code = (
        "import sys; from vap.evaluation.systems.registry import SYSTEMS; "
        "from vap.evaluation.metrics.registry import METRICS; SYSTEMS.names(); METRICS.names(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
