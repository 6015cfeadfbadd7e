from html.parser import HTMLParser

from vap.mini.story.panels import Panel
from vap.mini.story.story_page import render_page


class Sources(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if tag == "img" and name == "src"]


def test_every_panel_is_shown_and_words_are_no_markup():
    panels = [Panel("one", "<b>", "a & b", []), Panel("two", "Two", "", [])]
    page = render_page("title", panels, "made <so>")
    sources = Sources()
    sources.feed(page)
    assert sources.found == ["one.webp", "two.webp"]
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "made &lt;so&gt;" in page
