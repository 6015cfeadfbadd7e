"""What the documentation shows works: options exist, links lead somewhere, blocks run."""

import re
import tomllib
from pathlib import Path

import click
import pytest
import typer.main
from PIL import Image

from tests.cli.running import vap
from tests.docs.blocks import PAGES, ROOT, Block, blocks, blocks_of, named
from tests.media.making import moving
from vap.acceleration.plan import ACCELERATOR_PLANS, CPU_PLANS
from vap.cli.app import app
from vap.media import write_video
from vap.training.recipe import packaged_recipes

BASH, PYTHON = blocks("bash"), blocks("python")
WITH_OPTIONS = [block for block in BASH if block.vap_commands]
# Tutorials run at tiny sizes, in test_tutorials.py.
RUNNING = [
    block
    for block in blocks("bash", "python")
    if block.not_run is None and not block.page.startswith(("docs/tutorials/", "docs/notes/"))
]
SETUP = ("pip", "make")


@pytest.fixture
def at_desk(tmp_path, monkeypatch):
    """A folder with the files that the pages speak of."""
    monkeypatch.chdir(tmp_path)
    frames = moving(24)
    write_video(frames, "clip.mp4", 16)
    write_video(frames[:, :, ::-1], "second.mp4", 16)
    Image.fromarray(frames[0, ::-1]).save("photo.jpg")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (lines,) = (block.code for block in blocks("json") if "num_inference_steps" in block.code)
    Path("requests.jsonl").write_text(lines)
    Path("images").mkdir()
    for number in range(2):
        Image.fromarray(frames[number]).save(f"images/{number}.jpg")


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


def test_packaged_recipes_exist():
    trained = [words[1] for block in BASH for words in block.vap_commands if words[0] == "train"]
    named = {name for name in trained if "/" in name and "$" not in name}
    assert named
    assert named <= {*packaged_recipes()}


GUIDES = [page for page in PAGES if page.parent.name != "notes"]  # notes quote mistakes, too


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_in_running_text_exist(page):
    for line in re.findall(r"`vap ([a-z][^`\n]*)`", page.read_text()):
        command, words = typer.main.get_command(app), line.split()
        while words and hasattr(command, "commands") and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= known | {"--help-all"}, line


@pytest.mark.parametrize("words", [["generat"], ["generate", "--imag", "x"], ["prompt", "sow"]])
def test_parsing_notices_what_does_not_exist(words):
    with pytest.raises(Exception, match=words[-2] if "--imag" in words else words[-1]):
        parse(words)


@pytest.mark.parametrize("block", BASH, ids=named)
def test_blocks_that_run_hold_only_commands_that_can(block):
    if block.not_run is None:
        assert {words[0] for words in block.commands} <= {"vap", *SETUP}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", sorted({block.page for block in RUNNING}))
def test_a_pages_blocks_run_from_top_to_bottom(page, at_desk):
    for block in (each for each in RUNNING if each.page == page):
        if block.language == "python":
            exec(compile(block.code, named(block), "exec"), {})  # noqa: S102 - our own
        for words in block.vap_commands if block.language == "bash" else ():
            vap(*words)


@pytest.mark.parametrize("block", PYTHON, ids=named)
def test_python_is_python(block):
    compile(block.code, named(block), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []
    assert all((page.parent / link).resolve().is_relative_to(ROOT) for link in local)


def anchors(page):
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_headings(page):
    links = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text())
    ends = [(page.parent / link if link else page, anchor) for link, anchor in links]
    assert [(end.name, anchor) for end, anchor in ends if anchor not in anchors(end)] == []


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_named_paths_exist(page):
    """Paths in backticks, from the root or from the package."""
    named = re.findall(r"`([\w.*-]+(?:/[\w.*-]+)+/?|\w+/|\w+\.py)`", (ROOT / page).read_text())
    homes = (ROOT, ROOT / "src" / "vap")
    assert len(named) >= 1
    assert [path for path in named if not any((home / path).exists() for home in homes)] == []


def test_architecture_has_the_layers_of_the_contract():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    tree = (ROOT / "docs" / "architecture.md").read_text().split("## The tree")[1].split("## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", tree, re.MULTILINE)
    named = [{*re.findall(r"`(\w+)", row)} for row in rows]
    assert named == [{*re.findall(r"vap\.(\w+)", layer)} for layer in reversed(layers)]


def test_every_page_is_in_the_list_of_pages():
    listed = (ROOT / "docs" / "README.md").read_text()
    pages = [str(page.relative_to(ROOT / "docs")) for page in PAGES if page.parent != ROOT]
    assert [page for page in pages if page != "README.md" and f"({page})" not in listed] == []


def test_memory_page_names_every_plan():
    page = (ROOT / "docs" / "memory.md").read_text()
    assert [plan.name for plan in ACCELERATOR_PLANS + CPU_PLANS if plan.name not in page] == []


def spoken(folder):
    """The texts of all source files, each as it is said: joined, with … for what is filled in."""
    joined = re.sub(r'"\s*\n\s*[fr]?"', "", "\n".join(p.read_text() for p in folder.rglob("*.py")))
    return re.sub(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", "…", joined)


def test_errors_of_the_troubleshooting_page_are_those_of_the_code():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    errors = re.findall(r"\*\*`([^`]* [^`]*)`\*\*", page)
    errors.remove("vap: command not found")  # of the shell
    said = spoken(ROOT / "src" / "vap")
    parts = [part.strip(" .:") for error in errors for part in error.split("…")]
    assert len(errors) >= 15
    assert [part for part in parts if len(part.split()) > 2 and part not in said] == []
