import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.batch.requests import parse_requests, read_requests
from vap.effects.library import find_effect
from vap.generation.request import GenerationRequest

HERE = Path("/somewhere")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SETTINGS = st.fixed_dictionaries(
    {"image": st.text()},
    optional={
        "name": st.text(),
        "prompt": st.text(),
        "references": st.lists(st.text(), max_size=2),
        "model": st.text(max_size=300),
        "seed": st.integers(),
        "guidance_scale": st.floats(),
        "fit": st.sampled_from(["cover", "stretch", "bend"]),
        "height": JSON,
    },
)


def line(**settings) -> str:
    return json.dumps({"image": "cat.png", **settings})


def refusal(text: str) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is looked at
        parse_requests(text, HERE)
    return str(error.value)


def test_a_line_is_a_request():
    settings = {"references": ["a.mp4"], "reference_prompts": ["it melts"], "guidance_scale": 5}
    (found,) = parse_requests(line(name="one", **settings), HERE)
    assert found.name == "one"
    assert found.request == GenerationRequest(
        image=HERE / "cat.png",
        references=(HERE / "a.mp4",),
        reference_prompts=("it melts",),
        guidance_scale=5,
    )


def test_a_line_may_name_an_effect():
    (found,) = parse_requests(line(effect="burn", prompt="a car", seed=3), HERE)
    assert found.request.references == (find_effect("burn").reference,)
    assert (found.request.effect, found.request.prompt) == ("vap/burn", "a car")
    assert (found.request.seed, found.request.image) == (3, HERE / "cat.png")
    (other,) = parse_requests(line(effect="vap/burn"), HERE, defaults={"model": "m"})
    assert other.request.model == "m"
    assert "line 1: There is no effect 'bun'. Did you mean 'burn'" in refusal(line(effect="bun"))
    assert "vap/burn" in refusal(line(effect="burn", references=["a.mp4"]))


def test_paths_start_at_the_file(tmp_path):
    (tmp_path / "model").mkdir()
    file = tmp_path / "requests.jsonl"
    file.write_text("\n" + line(image="/else/cat.png", model="model", expert="e.safetensors"))
    (found,) = read_requests(file)
    assert found.request.image == Path("/else/cat.png")
    assert found.request.model == str(tmp_path / "model")
    assert found.request.expert == tmp_path / "e.safetensors"


def test_names_say_the_image_and_stay_when_lines_move():
    first, second = line(seed=1), line(image="a dog/.odd name!.png")
    names = [request.name for request in parse_requests(f"{first}\n{second}", HERE)]
    assert [name.rsplit("-", 1)[0] for name in names] == ["cat", "_odd_name_"]
    moved = parse_requests(f"{second}\n\n{first}", HERE)
    assert [request.name for request in moved] == names[::-1]


def test_any_other_setting_is_another_digest():
    digests = {
        parse_requests(line(name="one", **settings), HERE)[0].digest
        for settings in ({}, {"seed": 1}, {"prompt": "x"}, {"references": ["a.mp4"]})
    }
    assert len(digests) == 4


def test_what_is_left_to_its_default_is_not_in_the_digest():
    """So a batch goes on after an update that brings new settings."""
    bare, said = (parse_requests(one, HERE)[0] for one in (line(), line(seed=0, prompt="")))
    assert bare.digest == said.digest
    assert bare.digest[:16] == "58bcda58c73d292f"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(promt="x"), "line 1: 'promt' is not a setting. Did you mean 'prompt'?"),
        ('{"prompt": "x"}', "line 1: 'image' is missing."),
        (line() + "\n" + line(height="480"), "line 2: height: "),
        (line(references="a.mp4"), "line 1: references: "),
        ("\n\nnonsense", "line 3: Invalid JSON"),
        (line(name="../up"), "line 1: name: "),
        (line(fit="bend"), "line 1: fit: "),
        ("[]", "line 1: "),
        (" \n", "no requests"),
    ],
)
def test_what_is_no_request_is_refused_with_its_line(text, expected):
    assert expected in refusal(text)


def test_the_same_request_twice_is_refused_with_both_lines():
    message = refusal(f"{line()}\n{line(seed=1)}\n{line()}")
    assert "line 3: " in message
    assert "also the name of line 1" in message


def test_all_problems_are_told_at_once_but_not_without_end():
    message = refusal("\n".join(["{}"] * 30))
    assert message.count("'image' is missing") == 20
    assert message.endswith("… and 10 more")


def test_a_line_too_long_for_a_request_is_refused_unread(monkeypatch):
    monkeypatch.setattr("vap.batch.requests._parse", lambda *_: pytest.fail("parsed"))
    assert "line 1: 2,000," in refusal(line(prompt="a" * 2_000_000))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"requests file .* does not exist"):
        read_requests(tmp_path / "none.jsonl")


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "requests.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match="not UTF-8"):
        read_requests(tmp_path / "requests.jsonl")


@given(st.text() | st.lists(JSON.map(json.dumps)).map("\n".join))
def test_any_text_is_requests_or_refused(text):
    try:
        parse_requests(text, HERE)
    except ValueError as error:
        assert "requests" in str(error)  # noqa: PT017 - some texts are requests


@given(st.lists(SETTINGS, min_size=1, max_size=3))
def test_names_are_usable_and_unique_whatever_is_asked_for(settings):
    try:
        found = parse_requests("\n".join(map(json.dumps, settings)), HERE)
    except ValueError:
        return
    names = [request.name for request in found]
    assert len(set(names)) == len(names)
    for name in names:
        assert name == Path(name).name
        assert not name.startswith(".")
        assert len(name.encode()) <= 240
