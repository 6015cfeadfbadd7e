from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.training.recipe import RecipeError, find_recipe, packaged_recipes, read_tree


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


_NINE = ",".join("*{0}" for _ in range(9))
HOSTILE = {
    "aliases": "a0: &a0 x\n"
    + "".join(f"a{i}: &a{i} [{_NINE.format(f'a{i - 1}')}]\n" for i in range(1, 12)),
    "merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [{_NINE.format(f'a{i - 1}')}]}}\n" for i in range(1, 12)),
    "itself": "a: &a [*a]",
    "deep lists": "a: " + "[" * 100_000,
    "deep mappings": "{a: " * 20_000,
    "long": "a: " + "x" * 200_000,
    "digits": "a: " + "9" * 5000,
    "no such month": "a: 2024-13-01",
    "twice": "a: 1\nb: {c: 1, d: 2, c: 3}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_large_or_said_twice_is_refused_in_few_words(text, tmp_path) -> None:
    write(tmp_path, a=text, plain="output: b")
    with pytest.raises(RecipeError, match=r"a\.yaml") as refused:
        read_tree(tmp_path / "a.yaml")
    assert len(str(refused.value)) < 600
    with pytest.raises(RecipeError, match="loop") as refused:
        read_tree(tmp_path / "plain.yaml", (f"loop={text}",))
    assert len(str(refused.value)) < 600


def test_aliases_and_merge_keys_of_a_usual_size_are_read(tmp_path) -> None:
    write(tmp_path, a="a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}")
    assert read_tree(tmp_path / "a.yaml")["b"] == {"x": 1, "y": 3}
