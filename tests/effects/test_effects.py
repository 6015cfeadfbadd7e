import json
import stat
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vap.effects.create import create_effect
from vap.effects.effect import read_effect
from vap.effects.library import (
    bundled_folder,
    effects,
    export,
    find_effect,
    install,
    installed_folder,
    remove,
    unpack,
)
from vap.effects.manifest import MANIFEST, parse_manifest
from vap.media import probe_clip, write_video

OPENEFFECT = """
manifest_version: 1
id: somebody/set-on-fire
name: Set On Fire
description: Flames rise.
author: Somebody
category: transform
tags: [fire]
showcases:
  - preview: preview.mp4
    inputs: {image: photo.png}
inputs:
  image: {type: image, role: start_frame, hint: a full body}
generation:
  prompt: >
    Flames rise
    around the subject.
  models: [another]
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))


@pytest.fixture
def video(tmp_path: Path) -> Path:
    frames = np.random.default_rng(0).integers(0, 255, (5, 16, 16, 3), np.uint8)
    return write_video(frames, tmp_path / "clip.mp4", 8)


@pytest.fixture
def pack(tmp_path: Path, video: Path) -> Path:
    folder = tmp_path / "set-on-fire"
    folder.mkdir()
    (folder / MANIFEST).write_text(OPENEFFECT)
    (folder / "preview.mp4").write_bytes(video.read_bytes())
    Image.new("RGB", (8, 8)).save(folder / "photo.png")
    return folder


def created(tmp_path: Path, video: Path, **changes: Any) -> Any:
    values = {"name": "me/melt", "reference": video, "prompt": "{subject} melts", **changes}
    return create_effect(tmp_path / "melt", **values)


def test_an_openeffect_pack_is_an_effect(pack: Path) -> None:
    effect = read_effect(pack)
    assert (effect.id, effect.name, effect.category) == (
        "somebody/set-on-fire",
        "set-on-fire",
        "transform",
    )
    assert effect.reference == effect.preview == pack / "preview.mp4"
    assert effect.image == pack / "photo.png"
    assert effect.hint == "a full body"
    assert effect.reference_prompt == effect.prompt == "Flames rise around the subject."


def test_a_created_effect_says_what_it_was_given(tmp_path: Path, video: Path) -> None:
    effect = created(
        tmp_path,
        video,
        reference_prompt="a snowman melts",
        settings={"strength": 0.8},
        category="concept",
        license="CC0-1.0",
        tags=["wet"],
    )
    assert (effect.id, effect.title) == ("me/melt", "Melt")
    assert effect.request("a car") == {
        "references": (tmp_path / "melt" / "reference.mp4",),
        "reference_prompts": ("a snowman melts",),
        "prompt": "a car melts",
        "strength": 0.8,
    }
    assert "prompt" not in effect.request()
    assert json.loads(json.dumps(effect.as_json()))["license"] == "CC0-1.0"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"reference": None}, "reference"),
        ({"name": "Not A Name"}, "id"),
        ({"name": "../up"}, "id"),
        ({"settings": {"strength": 2}}, "strength"),
        ({"settings": {"speed": 2}}, "speed"),
    ],
)
def test_an_effect_that_cannot_be_is_refused_and_leaves_nothing(
    tmp_path: Path, video: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        created(tmp_path, video, **changes)
    assert not (tmp_path / "melt").exists()


def test_an_effect_goes_through_its_file_into_the_library(tmp_path: Path, video: Path) -> None:
    made = created(tmp_path, video)
    file = export(made, tmp_path / "melt.zip")
    assert file.read_bytes() == export(made, tmp_path / "again.zip").read_bytes()
    installed = install(file)
    assert installed.folder == installed_folder() / "melt"
    assert find_effect("me/melt") == find_effect("melt") == installed
    assert installed in effects()
    with pytest.raises(FileExistsError):
        install(file)
    assert install(tmp_path / "melt", replace=True) == installed
    assert remove("melt") == installed.folder
    with pytest.raises(FileNotFoundError, match="melt"):
        find_effect("melt")


def test_a_wrong_name_gets_the_nearest(tmp_path: Path, video: Path) -> None:
    install(created(tmp_path, video).folder)
    with pytest.raises(FileNotFoundError, match="melt"):
        find_effect("mellt")


def test_a_damaged_effect_does_not_hide_the_others(tmp_path: Path, video: Path) -> None:
    install(created(tmp_path, video).folder)
    before = [effect.name for effect in effects()]
    (installed_folder() / "broken").mkdir()
    (installed_folder() / "broken" / MANIFEST).write_text("{")
    assert [effect.name for effect in effects()] == before


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "a\\b", "c:d"])
def test_a_file_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, "text")
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    with pytest.raises(ValueError, match="inside"):
        unpack(tmp_path / "bad.zip", folder)
    assert not list(folder.iterdir())
    assert not (tmp_path / "in" / "out.txt").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    (tmp_path / "place").mkdir()
    with pytest.raises(ValueError, match="link"):
        unpack(tmp_path / "bad.zip", tmp_path / "place")


def test_what_is_too_large_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(65):
            archive.writestr(f"{index}.txt", "")
    (tmp_path / "place").mkdir()
    with pytest.raises(ValueError, match="65 files"):
        unpack(tmp_path / "bomb.zip", tmp_path / "place")
    assert not list((tmp_path / "place").iterdir())


@pytest.mark.parametrize("name", ["../reference.mp4", "/etc/passwd", "assets/../../x"])
def test_a_manifest_names_no_file_outside(pack: Path, name: str) -> None:
    values = yaml.safe_load(OPENEFFECT)
    values["showcases"][0]["preview"] = name
    (pack / MANIFEST).write_text(yaml.safe_dump(values))
    with pytest.raises(ValueError, match="inside"):
        read_effect(pack)


@given(st.text())
def test_any_text_is_a_manifest_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_manifest(text, "text").id


@given(
    st.dictionaries(
        st.sampled_from(["id", "name", "showcases", "inputs", "video_as_prompt", "tags"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.text(max_size=5), inner, max_size=2)
            ),
        ),
    )
)
def test_any_mapping_is_a_manifest_or_a_value_error(values: dict[str, Any]) -> None:
    with suppress(ValueError):
        assert parse_manifest(yaml.safe_dump(values), "text").id


@given(st.binary(max_size=200))
def test_any_bytes_are_an_effect_or_a_value_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("zip")
    (folder / "any.zip").write_bytes(content)
    (folder / "place").mkdir()
    with pytest.raises(ValueError, match=r"any\.zip"):
        unpack(folder / "any.zip", folder / "place")


def test_the_bundled_effects_fit_the_bundled_model() -> None:
    bundled = [effect for effect in effects() if effect.folder.parent == bundled_folder()]
    assert len(bundled) == 12
    assert {effect.category for effect in bundled} >= {"concept", "style", "motion"}
    for effect in bundled:
        assert effect.reference is not None
        info = probe_clip(effect.reference)
        assert (info.frames, info.height, info.width) == (17, 64, 96)
        assert effect.request("a cat")["prompt"] == "a cat"
        assert effect.model == "vap-mini"


def test_aliases_that_say_too_much_are_refused() -> None:
    lines = [
        "a0: &a0 xxxxxxxxxx",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)),
    ]
    with pytest.raises(ValueError, match="characters"):
        parse_manifest("\n".join(["id: a", "name: A", *lines]), "x")


def test_what_is_given_with_an_effect_wins(tmp_path: Path, video: Path) -> None:
    effect = created(tmp_path, video)
    given = {"prompt": "a car", "strength": 0.2, "reference_prompts": ("it drips",)}
    assert effect.applied_to(given) == {
        "references": (tmp_path / "melt" / "reference.mp4",),
        "reference_prompts": ("it drips",),
        "prompt": "a car",
        "strength": 0.2,
        "effect": "me/melt",
    }
    for name in ("references", "video_prompt"):
        with pytest.raises(ValueError, match="me/melt"):
            effect.applied_to({name: video})
