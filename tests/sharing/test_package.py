import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.running import refusal, vap_json
from vap.effects.effect import read_effect
from vap.effects.library import bundled_folder, export
from vap.files.shared import check_hub_id, is_hub_id
from vap.loading.pipeline import load_transformer
from vap.models.expert_file import ExpertInfo
from vap.sharing.cards import expert_card
from vap.sharing.package import packaged


@pytest.fixture
def effect(tmp_path):
    return Path(shutil.copytree(bundled_folder() / "burn", tmp_path / "burn"))


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    file = tmp_path_factory.mktemp("expert") / "expert.safetensors"
    load_transformer("vap-mini").save_expert(file, description="Reads <b>effects</b>.")
    return file


def change_license(folder, text):
    manifest = folder / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace("license: Apache-2.0", f"license: {text}"))


def test_an_effect_is_its_files_and_a_card(effect, tmp_path):
    (effect / "README.md").write_text("notes of its author")
    with packaged(effect, "me/burn") as package:
        assert (package.kind, package.license) == ("effect", "apache-2.0")
        assert package.files.keys() == {"manifest.yaml", "reference.mp4", "image.png"}
        package.write(tmp_path / "out")
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-to-video"
    assert card.data.library_name == "video-as-prompt"
    assert {"video-as-prompt", "effect", "concept"} <= {*card.data.tags}
    assert card.data.base_model is None  # the bundled model is not on the Hub
    assert read_effect(tmp_path / "out").id == "vap/burn"


def test_an_effect_in_one_file_is_shared_too(effect, tmp_path):
    export(read_effect(effect), tmp_path / "burn.zip")
    with packaged(tmp_path / "burn.zip", "me/burn") as package:
        assert package.files.keys() == {"manifest.yaml", "reference.mp4", "image.png"}


@pytest.mark.parametrize("text", ["''", "all rights reserved", "CC-BY-ND-4.0"])
def test_an_effect_that_may_not_be_shared_is_refused(effect, text):
    change_license(effect, text)
    with pytest.raises(ValueError, match=r"[lL]icense"), packaged(effect, "me/burn"):
        pass


@pytest.mark.parametrize("name", ["run.py", "weights.pkl", "weights.bin", ".git"])
def test_other_files_in_an_effect_are_refused(effect, name):
    (effect / name).write_text("x")
    with pytest.raises(ValueError, match=name), packaged(effect, "me/burn"):
        pass


def test_links_are_refused(effect, tmp_path):
    (tmp_path / "secret.png").write_text("x")
    (effect / "linked.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ValueError, match=r"linked\.png"), packaged(effect, "me/burn"):
        pass


def test_weights_of_an_effect_must_be_safetensors(effect):
    (effect / "prompt.safetensors").write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ValueError, match=r"prompt\.safetensors"), packaged(effect, "me/burn"):
        pass


def test_an_expert_has_a_card_with_its_facts(expert):
    source = expert.parent  # a folder of training
    with packaged(source, "me/ours", license_name="Apache-2.0", model="wan") as package:
        assert package.kind == "expert"
        assert package.files == {"expert.safetensors": expert}
    card = ModelCard(package.card)
    assert card.data.base_model == "ByteDance/Video-As-Prompt-Wan2.1-14B"
    assert "expert" in card.data.tags
    assert "vap generate --model ByteDance/" in card.text
    assert "<b>" not in card.text


@pytest.mark.parametrize("given", ["", "secret"])
def test_an_expert_needs_a_license_that_allows_sharing(expert, given):
    with (
        pytest.raises(ValueError, match=r"[lL]icense"),
        packaged(expert, "me/ours", license_name=given),
    ):
        pass


def test_pickles_are_refused(tmp_path):
    (tmp_path / "expert.ckpt").write_bytes(b"x")
    (tmp_path / "expert.safetensors").write_bytes(b"\x80\x04 a pickle")
    for name in ("expert.ckpt", "expert.safetensors"):
        file = tmp_path / name
        with (
            pytest.raises(ValueError, match=name),
            packaged(file, "me/ours", license_name="mit"),
        ):
            pass


def test_dry_run_writes_and_uploads_nothing(effect, tmp_path):
    out = tmp_path / "out"
    told = vap_json("push", effect, "me/burn", "--dry-run", "-o", out)
    assert (told["uploaded"], told["visibility"]) == (False, "private")
    assert {file.name: file.stat().st_size for file in out.iterdir()} == told["files"]


@pytest.mark.parametrize("name", ["burn", "me/burn/more", "me/../burn", "/burn", "me/b urn"])
def test_names_that_the_hub_has_not_are_refused(effect, name):
    assert name in refusal("push", effect, name, "--dry-run")


@given(st.text(max_size=40))
def test_a_hub_id_is_two_plain_names(name):
    try:
        check_hub_id(name)
    except ValueError:
        assert not is_hub_id(name)
    else:
        owner, _, rest = name.partition("/")
        assert owner
        assert rest
        assert ".." not in name
        assert name.isascii()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXTS)
def test_texts_of_a_file_cannot_change_its_card(description):
    info = ExpertInfo(
        path=Path("x"), transformer="T", depths="[0]", reference_positions="before",
        description=description, shapes={}, format_version=1,
    )  # fmt: skip
    card = ModelCard(expert_card(info, "me/ours", "mit", "wan", ""))
    assert card.data.license == "mit"
    assert card.text.count("```") == 4
    assert "<" not in card.text
