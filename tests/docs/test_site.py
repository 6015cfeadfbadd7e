"""The documentation builds as a site that asks no other host, and its search finds things."""

import functools
import importlib
import json
import re
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
import yaml
from playwright.sync_api import expect, sync_playwright

import vap
from tests.docs.blocks import PAGES, ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SHOWN = re.findall(r"^::: (\S+)", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
SEARCHES = {
    "out of memory": "troubleshooting/",
    "reference ignored": "recipes/reference-ignored/",
    "LoRA": "usage/",
}


def pages_in(nav):
    """Paths of all pages of a navigation, in order."""
    for entry in nav:
        (value,) = entry.values() if isinstance(entry, dict) else (entry,)
        yield from pages_in(value) if isinstance(value, list) else [value]


def test_every_page_is_in_the_navigation_once():
    (nav,) = re.findall(r"^nav:\n.*", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE | re.DOTALL)
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.parent != ROOT]
    assert sorted(pages_in(yaml.safe_load(nav)["nav"])) == sorted(pages)


def test_api_reference_shows_every_public_name():
    assert {f"vap.{name}" for name in vap.__all__} - {"vap.__version__"} <= {*SHOWN}


@pytest.mark.parametrize("name", SHOWN)
def test_names_of_the_api_reference_exist_with_docstrings(name):
    module, _, thing = name.rpartition(".")
    assert getattr(importlib.import_module(module), thing).__doc__


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; the build fails at the first warning."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "src").symlink_to(ROOT / "src")
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "outputs" / "site"


@pytest.mark.slow
def test_site_has_every_page_and_every_name_of_the_api(site):
    index = json.loads((site / "search.json").read_text())
    places = {item["location"] for item in index["items"]}
    docs = [page.relative_to(ROOT / "docs") for page in PAGES if page.parent != ROOT]
    pages = {f"{page.with_suffix('')}/" for page in docs if page.name != "README.md"}
    assert pages | {f"api/#{name}" for name in SHOWN} <= places


class Links(HTMLParser):
    """Ids of a page, and the addresses that it links to or shows."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.addresses = set(), set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids.add(given.get("id"))
        name = {"a": "href", "img": "src", "script": "src", "link": "href"}.get(tag)
        self.addresses |= {given[name]} if name in given else set()


@pytest.mark.slow
def test_links_of_the_site_lead_to_pages_anchors_and_pictures(site):
    pages = {
        page.resolve(): Links(page) for page in site.rglob("*.html") if page.name != "404.html"
    }
    broken = []
    for page, links in pages.items():
        for address in links.addresses:
            path, _, anchor = address.partition("#")
            end = (page.parent / unquote(path)).resolve() if path else page
            end = end / "index.html" if end.is_dir() else end
            if "://" in address or address.startswith("mailto:"):
                continue
            known = pages[end].ids if end in pages else set()
            if not end.exists() or (anchor and unquote(anchor) not in known):
                broken.append((page.parent.name, address))
    assert len(pages) > len(PAGES) - 2
    assert broken == []


@pytest.mark.slow
def test_source_files_do_not_get_onto_the_site(site):
    assert [*site.rglob("*.py"), *site.rglob("*.md")] == []


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def open_search(page):
    """The box of the search; the page may not listen to keys yet, so press them again."""
    box = page.get_by_role("combobox", name="Search")
    for _ in range(30):
        page.keyboard.press("Control+k")
        with suppress(AssertionError):
            expect(box).to_be_visible(timeout=3_000)
            break
    return box


@pytest.mark.slow
@pytest.mark.parametrize(("words", "place"), SEARCHES.items())
def test_search_finds(words, place, browser, address):
    page, hosts = browser.new_page(), set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.goto(address)
    open_search(page).fill(words)
    expect(page.locator(f'a[href*="{place}?h="]').first).to_be_visible(timeout=60_000)
    assert hosts == {address.split("/")[2]}
