"""The tutorials work from their first command to their last, at tiny sizes."""

import textwrap

import pytest

from tests.cli.running import vap
from tests.docs.blocks import TUTORIALS, blocks_of
from tests.media.making import moving
from vap.media import write_video

# Fewer pairs, steps and samples than a reader takes, and every effect of the few pairs.
TINY = ("--set", "loop.steps=1", "--set", "loop.batch_size=1", "--set", "data.conditions=[]")


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with a picture and clips of one effect."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips" / "melts").mkdir(parents=True)
    for number in range(2):
        frames = moving(17)[:, :: 1 - 2 * number]
        write_video(frames, f"clips/melts/{number}.mp4", 16)
    Image.fromarray(moving(1)[0]).save("photo.jpg")
    return tmp_path


def run_command(words):
    if words[:2] == ["data", "synth"] and "pairs" in words:
        words[words.index("--count") + 1] = "2"
    vap(*words, *(TINY if words[0] == "train" else ()))


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_works_from_its_first_command_to_its_last(page, reader) -> None:
    for block in blocks_of(page.read_text(encoding="utf-8"), page.name):
        if block.not_run:
            continue
        if block.language == "yaml":
            name = block.code.splitlines()[0].removeprefix("# ")
            (reader / name).write_text(textwrap.dedent(block.code), encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.code, page.name, "exec"), {})  # noqa: S102 - our own documentation
        for words in block.vap_commands:
            run_command(words)
    made = {path.name for path in reader.iterdir()}
    assert page.stem == "use-your-gpu" or {"after.mp4", "trained.mp4"} & made
