"""The API reference is current and shows every public name."""

import runpy

import vap
from tests.docs.blocks import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_api.py"))


def test_page_is_what_its_script_writes():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert page == MAKER["page"](), "python docs/make_api.py"


def test_every_public_name_is_shown():
    shown = {name for entries in MAKER["SECTIONS"].values() for _, name, _ in entries}
    assert {*vap.__all__} - {"__version__"} <= shown
