import pytest
from hypothesis import given
from hypothesis import strategies as st

from vap.evaluation.systems.ledger import Entry, Ledger

ENTRY = Entry("job", "cat-s0-own", "id", "submitted", 2.0, 0.0)


def test_the_last_line_of_a_submission_counts(tmp_path):
    ledger = Ledger(tmp_path / "l")
    ledger.write(ENTRY)
    ledger.write(ENTRY, state="accepted", task="7")
    assert Ledger(tmp_path / "l").of("job").task == "7"
    assert Ledger(tmp_path / "l").of("other") is None


def test_all_that_may_be_paid_counts_and_a_refusal_does_not(tmp_path):
    ledger = Ledger(tmp_path / "l")
    states = ("submitted", "accepted", "refused", "lost", "failed", "done")
    for state in states:
        ledger.write(ENTRY, id=state, state=state)
    assert ledger.paid == 10
    ledger.write(ENTRY, id="done", state="done", cost=0.5)
    assert Ledger(tmp_path / "l").paid == 8.5
    assert ledger.of("job").id == "done"


@given(st.integers(1, 400))
def test_a_torn_last_line_was_not_begun(tmp_path_factory, length):
    path = tmp_path_factory.mktemp("torn") / "l"
    ledger = Ledger(path)
    ledger.write(ENTRY)
    whole = path.read_bytes()
    ledger.write(ENTRY, id="second")
    path.write_bytes(path.read_bytes()[: min(len(whole) + length, 2 * len(whole))])
    after = Ledger(path)
    after.write(ENTRY, id="third")
    assert Ledger(path).paid == 4


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1))
def test_a_line_that_is_no_entry_stops_the_run(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("bad") / "l"
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        Ledger(path)
