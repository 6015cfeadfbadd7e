"""What the documentation shows works: options exist, links lead somewhere, blocks run."""

import re

import click
import pytest
import typer.main
from PIL import Image

from tests.cli.running import vap
from tests.docs.blocks import PAGES, ROOT, Block, blocks, blocks_of, named
from tests.media.making import moving
from vap.cli.app import app
from vap.media import write_video

BASH, PYTHON = blocks("bash"), blocks("python")
WITH_OPTIONS = [block for block in BASH if block.vap_commands]
COMMAND_BLOCKS = [b for b in WITH_OPTIONS if not b.not_run]
SETUP = ("pip", "make")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder for each page, in which its blocks run from top to bottom."""
    return {str(page.relative_to(ROOT)): tmp_path_factory.mktemp(page.stem) for page in PAGES}


@pytest.fixture
def at_desk(request, desk, monkeypatch):
    """The files that the pages speak of."""
    folder = desk[request.getfixturevalue("block").page]
    monkeypatch.chdir(folder)
    if not (folder / "clip.mp4").exists():
        frames = moving(24)
        write_video("clip.mp4", frames, 16)
        write_video("second.mp4", frames[:, :, ::-1], 16)
        Image.fromarray(frames[0, ::-1]).save("photo.jpg")


def parse(words: list[str]) -> None:
    """Walk down to the command and let it read its options, without running it."""
    command, name = typer.main.get_command(app), "vap"
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        context = command.make_context(name, list(words), resilient_parsing=False)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, words = command.resolve_command(context, rest)
    command.make_context(name, list(words))


def test_extractor_sees_languages_reasons_and_lines():
    text = (
        "a\n<!-- not run: far too slow -->\n```bash\nvap a \\\n  'b c' # d\n```\n\n```python\n```\n"
    )
    first, second = blocks_of(text, "page.md")
    assert first == Block("page.md", 3, "bash", "vap a \\\n  'b c' # d\n", "far too slow")
    assert first.vap_commands == [["a", "b c"]]
    assert (second.language, second.code, second.not_run) == ("python", "", None)


@pytest.mark.parametrize("block", WITH_OPTIONS, ids=named)
def test_commands_and_options_exist(block):
    for words in block.vap_commands:
        parse(words)


@pytest.mark.parametrize("words", [["generat"], ["generate", "--imag", "x"], ["prompt", "sow"]])
def test_parsing_notices_what_does_not_exist(words):
    with pytest.raises(Exception, match=words[-2] if "--imag" in words else words[-1]):
        parse(words)


@pytest.mark.parametrize("block", BASH, ids=named)
def test_blocks_that_run_hold_only_commands_that_can(block):
    if block.not_run is None:
        assert {words[0] for words in block.commands} <= {"vap", *SETUP}


@pytest.mark.parametrize("block", COMMAND_BLOCKS, ids=named)
def test_commands_run(block, at_desk):
    for words in block.vap_commands:
        vap(*words)


@pytest.mark.parametrize("block", [b for b in PYTHON if b.not_run is None], ids=named)
def test_python_runs(block, at_desk):
    exec(compile(block.code, named(block), "exec"), {})  # noqa: S102 - our own documentation


@pytest.mark.parametrize("block", PYTHON, ids=named)
def test_python_is_python(block):
    compile(block.code, named(block), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
    assert all((page.parent / link).resolve().is_relative_to(ROOT) for link in local)
