"""The tokenizer of a backbone run: whole for every process, whatever a killed run has left."""

from pathlib import Path

import pytest
from transformers import T5Tokenizer

from vap.mini.training.stages import backbone_stage as backbone
from vap.mini.training.stages.backbone_stage import _tokenizer


@pytest.fixture(autouse=True)
def few_captions(monkeypatch):
    monkeypatch.setattr(backbone, "synth_captions", lambda: ["a cat spins"] * 9 + ["a dog"])


def ids(tokenizer):
    return tokenizer("a cat").input_ids


@pytest.fixture
def expected(tmp_path):
    tokenizer = _tokenizer(tmp_path / "expected")
    assert tokenizer.unk_token_id not in ids(tokenizer)
    return ids(tokenizer)


@pytest.mark.parametrize("left", [{}, {"tokenizer_config.json": "{}"}, {"tokenizer.json": '{"a'}])
def test_what_a_killed_run_has_left_is_completed(left, expected, tmp_path):
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for name, text in left.items():
        (folder / name).write_text(text, encoding="utf-8")

    assert ids(_tokenizer(folder)) == expected


def test_a_process_that_begins_while_another_writes_has_the_same_tokens(
    expected, tmp_path, monkeypatch
):
    folder, save, others = tmp_path / "tokenizer", T5Tokenizer.save_pretrained, []

    def interrupted(tokenizer, place):
        """What a second process does when the first has made no more than the folder."""
        if not others:
            others.append(None)
            Path(place).mkdir(exist_ok=True)
            others[0] = _tokenizer(folder)
        return save(tokenizer, place)

    monkeypatch.setattr(T5Tokenizer, "save_pretrained", interrupted)

    assert ids(_tokenizer(folder)) == expected
    assert ids(others[0]) == expected
    assert {path.name for path in folder.iterdir()} == set(backbone._TOKENIZER_FILES)
