import re
from html.parser import HTMLParser

import pytest

from tests.evaluation.standins import METRICS, SYSTEMS, Blind, Brightness, Painted, make_benchmark
from vap.evaluation.metrics.base import Metric
from vap.evaluation.plan import Evaluation
from vap.evaluation.report.page import PAGE, write_page
from vap.evaluation.report.summary import by_case, summarize
from vap.evaluation.run import run
from vap.evaluation.run_folder import RunFolder, read_run_folder


class Page(HTMLParser):
    """Rows of tables, titles of parts, and sources of media."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.sources: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag == "tr":
            self.rows.append([])
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        if self._tag in ("td", "th") and data.strip():
            self.rows[-1].append(data.strip())
        if self._tag in ("h2", "h3") and data.strip():
            self.headings.append(data.strip())


@pytest.fixture
def finished(tmp_path) -> RunFolder:
    systems = [
        Painted(name="painted", title="A <painter>", log_folder=tmp_path, fails_on=("case5",)),
        Blind(name="blind", log_folder=tmp_path, shade=9),
    ]
    evaluation = Evaluation(
        make_benchmark(tmp_path / "media"),
        systems,
        [Brightness(name="brightness", log_folder=tmp_path)],
    )
    run(evaluation, tmp_path / "out")
    return read_run_folder(tmp_path / "out", SYSTEMS, METRICS)


def page_of(finished: RunFolder) -> str:
    path = write_page(finished, summarize(finished), "painted")
    assert path == finished.folder / PAGE
    return path.read_text(encoding="utf-8")


def test_the_page_needs_nothing_else(finished: RunFolder) -> None:
    text = page_of(finished)
    page = Page(text)
    assert page.sources
    assert all(source.startswith("data:") for source in page.sources)
    assert not re.search(r"https?://", text)


def test_every_system_has_its_row_and_titles_are_text(finished: RunFolder) -> None:
    page = Page(page_of(finished))
    rows = {row[0]: row for row in reversed(page.rows) if row}  # of the first table
    assert rows["A <painter>"][1] == "5"  # one failed
    assert rows["blind"][1] == "5"  # one condition is not covered
    value = summarize(finished).numbers[0].value
    assert rows["A <painter>"][2] == f"{value:.2f}"


def test_best_and_worst_cases_are_of_the_baseline(finished: RunFolder) -> None:
    values = by_case(finished, finished.metrics[0])
    own = {case: value for (system, case), value in values.items() if system == "painted"}
    order = sorted(own, key=lambda case: -own[case])
    headings = Page(page_of(finished)).headings
    best, worst = (headings.index(f"{name} cases") for name in ("Best", "Worst"))
    shown = [heading.split(":")[0] for heading in headings[best + 1 : worst]]
    assert shown == order[:3]
    assert headings[worst + 1].split(":")[0] in order[3:]


def test_published_numbers_stand_beside_a_metric_of_theirs(finished: RunFolder, tmp_path) -> None:
    class ClipScore(Brightness):
        kind = "clip-score"

    plain = Page(page_of(finished)).rows
    assert not any(row[0].startswith("Video-As-Prompt") for row in plain if row)
    metric: Metric = ClipScore(name="brightness", log_folder=tmp_path)
    beside = RunFolder(**{**vars(finished), "metrics": (metric,)})
    rows = {row[0]: row for row in Page(page_of(beside)).rows if row}
    assert rows["Video-As-Prompt ‡"][1:] == ["48", "24.13"]
