from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vap.mini.training.mini_recipe import BackboneStage, ExportStage
from vap.synth import conditions_of
from vap.training.recipe import (
    STAGES,
    RecipeError,
    find_recipe,
    load_recipe,
    packaged_recipes,
    parse_recipe,
    read_tree,
    recipe_class,
)

MINI = [Path(name) for name in packaged_recipes() if name.startswith("vap-mini/")]


def backbone(**changes):
    tree = {
        "stage": "backbone",
        "output": "out",
        "latents": ["latents"],
        "loop": {"steps": 2, "batch_size": 1},
    }
    return tree | changes


def test_a_recipe_becomes_its_stage():
    recipe = parse_recipe(backbone())

    assert isinstance(recipe, BackboneStage)
    assert recipe.loop.steps == 2


def test_an_unknown_key_is_refused_with_the_nearest_valid_one():
    with pytest.raises(
        RecipeError, match=r"effect_in_captions: .*did you mean 'effect_in_caption'"
    ):
        parse_recipe(backbone(effect_in_captions=0.5))


def test_an_unknown_key_of_a_section_is_refused_with_the_nearest_valid_one():
    with pytest.raises(RecipeError, match=r"loop\.stps: .*did you mean 'steps'"):
        parse_recipe(backbone(loop={"steps": 2, "stps": 3, "batch_size": 1}))


def test_keys_that_do_not_go_together_are_named_without_the_rest_of_the_recipe():
    with pytest.raises(RecipeError) as refused:
        parse_recipe(backbone(deepen_after=[1]))

    last = str(refused.value).splitlines()[-1]
    assert last == (
        "  backbone: deepen_after puts blocks into a trained backbone: say which one with start."
    )


def test_a_key_like_no_other_is_answered_with_all_valid_ones():
    with pytest.raises(RecipeError, match=r"loop\.zzzz: unknown key; allowed: batch_size"):
        parse_recipe(backbone(loop={"steps": 2, "zzzz": 3, "batch_size": 1}))


def test_every_problem_is_named_at_once():
    with pytest.raises(RecipeError) as caught:
        parse_recipe(backbone(loop={"steps": -1, "batch_size": 0}))

    assert "loop.steps" in str(caught.value)
    assert "loop.batch_size" in str(caught.value)


def test_an_unknown_stage_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match="expert"):
        parse_recipe({"stage": "finetune"})


def test_overrides_reach_into_sections(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(backbone()), encoding="utf-8")

    recipe = load_recipe(path, ("loop.steps=7", "flow.prediction=sample"))

    assert isinstance(recipe, BackboneStage)
    assert recipe.loop.steps == 7
    assert recipe.flow.prediction == "sample"


@pytest.mark.parametrize("override", ["loop.steps", "=3", "stage.loop=3", "loop.steps=[1"])
def test_a_malformed_override_is_refused(tmp_path, override):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(backbone()), encoding="utf-8")

    with pytest.raises(RecipeError, match="override"):
        load_recipe(path, (override,))


def test_a_missing_recipe_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml"):
        load_recipe(tmp_path / "nothing.yaml")


@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_a_recipe_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(RecipeError):
        load_recipe(path)


@given(
    st.dictionaries(
        st.sampled_from(["stage", "output", "latents", "loop", "flow", "render", "oops"]),
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just({"steps": 1})),
    )
)
def test_any_tree_is_a_recipe_or_a_recipe_error(tree):
    with pytest.raises(RecipeError):
        parse_recipe(tree)


@pytest.mark.parametrize("path", packaged_recipes())
def test_packaged_recipes_are_valid(path):
    assert load_recipe(Path(path)).output.parts[0] == "runs"


NEEDED = ("start", "vae", "backbone", "expert", "student")


def test_packaged_stages_feed_each_other():
    recipes = [load_recipe(path) for path in MINI]
    made = {recipe.output: recipe for recipe in recipes}

    assert len(made) == len(recipes)
    for recipe in recipes:
        needed = [getattr(recipe, name, None) for name in NEEDED]
        needed += getattr(recipe, "latents", ())
        for path in filter(None, needed):
            stage = made[path.parent if path.name == "vae" else path]
            assert stage.output < recipe.output or isinstance(recipe, ExportStage)


def test_nothing_of_the_unknown_conditions_is_trained_on():
    for path in MINI:
        render = getattr(load_recipe(path), "render", None)
        if render is None:
            continue
        allowed = set(conditions_of("seen") if "demo" in path.stem else conditions_of("backbone"))
        assert set(render.conditions) <= allowed
        if not render.conditions:
            assert set(conditions_of(render.split)) <= allowed


def test_every_stage_can_be_named_in_yaml():
    for stage in STAGES:
        assert recipe_class(stage).model_fields["stage"].annotation == Literal[stage]
        assert hasattr(importlib.import_module(STAGES[stage].runs), "run")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frames": 16}, r"render\.frames: .*1 \+ 4k frames; set it to 13 or 17 \(given 16\)"),
        ({"height": 40}, r"render\.height: .*multiple of 16"),
        ({"width": 24}, r"render\.width: .*multiple of 16"),
    ],
)
def test_sizes_that_no_network_takes_are_refused(change, said):
    tree = {"stage": "vae", "output": "out", "loop": {"steps": 1, "batch_size": 1}}

    with pytest.raises(RecipeError, match=said):
        parse_recipe(tree | {"render": change})


def tuning(**changes):
    tree = {
        "stage": "sft",
        "output": "out",
        "model": {"start": "somewhere"},
        "data": {"table": "table.csv", "encoded": "encoded"},
        "loop": {"steps": 2, "batch_size": 1},
    }
    return tree | changes


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (backbone(loop={"steps": 2, "stop": 5, "batch_size": 1}), "stop to at most 2"),
        (backbone(loop={"steps": 2, "seed": -1, "batch_size": 1}), r"loop\.seed: .*-1"),
        (backbone(optimizer={"betas": [1, 1]}), r"optimizer\.betas\.0: .*less than 1"),
        (backbone(start="before", model={"num_layers": 3}), r"Leave out model, or start"),
        (
            {
                "stage": "vae",
                "output": "out",
                "loop": {"steps": 1, "batch_size": 1},
                "start": "before",
                "model": {"z_dim": 4},
            },
            r"model \(z_dim\) .*Leave out model, or start",
        ),
        (tuning(run={"shard": 4}), "sharding to hsdp, or shard to 1"),
        (tuning(run={"sharding": "hsdp"}), "shard to the number of processes that share a copy"),
        (tuning(stage="dpo", model={"start": "a", "method": "residual"}), "Leave out model.method"),
        (
            tuning(stage="distill", model={"start": "a", "method": "backbone-lora"}),
            "distill always trains a LoRA of its own",
        ),
        (
            {
                "stage": "export",
                "output": "out",
                "vae": "vae",
                "backbone": "backbone",
                "expert": "expert",
                "generation_defaults": {"num_inferense_steps": 4},
            },
            "no num_inferense_steps; allowed: height, .*num_inference_steps",
        ),
    ],
)
def test_what_would_be_ignored_or_fail_later_is_refused_with_what_is_allowed(tree, said):
    with pytest.raises(RecipeError, match=said):
        parse_recipe(tree)


def test_a_group_of_one_that_shares_its_videos_shares_its_weights():
    run = {"sharding": "hsdp", "shard": 1, "context": 2}

    assert parse_recipe(tuning(run=run)).run.shard == 1


def test_problems_are_told_without_the_values_that_they_are_about():
    tree = tuning()
    tree["loop"] = {"steps": [["x" * 1000] * 1000] * 1000, **{f"k{i}": 1 for i in range(1000)}}
    with pytest.raises(RecipeError, match=r"(?s)loop\.steps.*and \d+ more") as refused:
        parse_recipe(tree)
    assert len(str(refused.value)) < 3000


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1.0e+999", "'nan'"])
def test_numbers_that_are_not_finite_are_refused(value, tmp_path):
    (tmp_path / "a.yaml").write_text(json.dumps(tuning()))
    for key in ("optimizer.learning_rate", "data.threshold", "flow.logit_mean", "hardware.memory"):
        with pytest.raises(RecipeError, match=key):
            load_recipe(tmp_path / "a.yaml", (f"{key}={value}",))


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
    with pytest.raises(RecipeError, match="without a cycle"):
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
