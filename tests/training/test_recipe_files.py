from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.training.recipe_files import RecipeError, find_recipe, packaged_recipes, read_tree


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_recipe_stands_above_its_base_key_by_key(tmp_path) -> None:
    write(
        tmp_path,
        base="loop: {steps: 10, seed: 1}\noutput: a\nmodel: {depths: [1, 2]}",
        middle="base: base.yaml\nloop: {steps: 20}\nmodel: {depths: [3]}",
        top="base: middle.yaml\noutput: b",
    )
    assert read_tree(tmp_path / "top.yaml", ("loop.seed=5",)) == {
        "loop": {"steps": 20, "seed": 5},
        "output": "b",
        "model": {"depths": [3]},
    }


def test_a_base_that_leads_back_is_refused(tmp_path) -> None:
    write(tmp_path, a="base: b.yaml", b="base: a.yaml")
    with pytest.raises(RecipeError, match="does not lead back"):
        read_tree(tmp_path / "a.yaml")


def test_a_missing_base_is_named(tmp_path) -> None:
    write(tmp_path, a="base: elsewhere.yaml")
    with pytest.raises(FileNotFoundError, match=r"elsewhere\.yaml"):
        read_tree(tmp_path / "a.yaml")


def test_packaged_recipes_are_found_by_name() -> None:
    assert find_recipe(Path("wan-14b/expert")).is_file()
    assert "wan-14b/expert" in packaged_recipes()
    with pytest.raises(FileNotFoundError, match="wan-14b/expert"):
        find_recipe(Path("wan-15b"))


@given(text=st.text(max_size=60) | st.binary(max_size=60))
def test_any_file_is_read_or_refused_in_words(text, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("recipe") / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(errors="replace"))
    try:
        assert isinstance(read_tree(path), dict)
    except (RecipeError, FileNotFoundError) as error:
        assert "yaml" in str(error)  # noqa: PT017 - a refusal is as good as a tree


@pytest.mark.parametrize("folder", [".", "..", "/", "wan-14b"])
def test_a_folder_is_no_recipe_and_the_answer_names_some(folder):
    with pytest.raises(FileNotFoundError, match=r"Give the path of a YAML file.*wan-14b/expert"):
        find_recipe(Path(folder))
