import json

import pytest

from tests.batch.making import lines_of
from tests.cli.running import WAN, refusal, vap, vap_json
from vap.media import read_run


@pytest.fixture
def requests(media, here):
    """Writes a file of requests about the picture."""

    def write(*settings):
        lines = lines_of(*({"image": str(media.image), **setting} for setting in settings))
        (here / "requests.jsonl").write_text(lines)
        return here / "requests.jsonl"

    return write


def test_a_summary_in_text_and_json_with_a_code_for_failures(requests, here):
    file = requests({"name": "good"}, {"name": "bad", "image": str(here / "text.png")})
    (here / "text.png").write_text("non-finite values")
    result = vap("batch", file, "-o", here / "out", code=1)
    said = " ".join(result.stderr.split())
    assert result.stdout == ""
    assert "bad: " in said
    assert "1 of 2 videos are complete." in said
    assert "1 failed; see the manifest for the reasons. Retry them with --retry-failed." in said
    found = vap_json("batch", file, "-o", here / "out", code=1)
    manifest = here / "out" / "manifest.jsonl"
    assert found == {
        "requests": 2, "done": 1, "failed": 1, "skipped": 1, "manifest": str(manifest.resolve())
    }  # fmt: skip
    assert [json.loads(line)["status"] for line in manifest.open()] == ["done", "failed"]


def test_all_done_is_success(requests, here):
    file = requests({"name": "good"})
    result = vap("batch", file, "-o", here / "out", "--format", "gif")
    assert "1 of 1 videos are complete." in result.stderr
    assert (here / "out" / "good.gif").exists()


def test_a_file_of_requests_that_cannot_be_used_is_refused(requests, here):
    assert "requests file" in refusal("batch", here / "none.jsonl", "-o", here / "out")
    assert "line 1: 'imgae' is not a setting" in refusal(
        "batch", requests({"imgae": "x"}), "-o", here / "out"
    )
    assert not (here / "out").exists()


def test_a_place_that_does_not_exist_is_refused(requests, here):
    assert "does not exist" in refusal("batch", requests({}), "-o", here / "no" / "out")


def test_options_are_defaults_of_lines_that_leave_them_out(requests, here):
    file = requests({"name": "own", "profile": "exact"}, {"name": "left"})
    vap("batch", file, "-o", here / "out", "--model", WAN, "--profile", "fast")
    found = {name: read_run(here / "out" / f"{name}.mp4") for name in ("own", "left")}
    assert {name: run.arguments["profile"] for name, run in found.items()} == {
        "own": "exact", "left": "fast"
    }  # fmt: skip
