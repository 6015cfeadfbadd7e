"""Code blocks of the documentation, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TUTORIALS = tuple(sorted((ROOT / "docs" / "tutorials").glob("*.md")))
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    code: str
    not_run: str | None

    @property
    def commands(self) -> list[list[str]]:
        """Its commands as words, without comments."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    @property
    def vap_commands(self) -> list[list[str]]:
        return [words[1:] for words in self.commands if words[0] == "vap"]


def blocks_of(text: str, page: str) -> Iterator[Block]:
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("code"))
        yield Block(page, line, found["language"], found["code"], found["reason"])


def blocks(*languages: str) -> list[Block]:
    found = (
        block
        for page in PAGES
        for block in blocks_of(page.read_text(), str(page.relative_to(ROOT)))
    )
    return [block for block in found if block.language in languages]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"
