import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.measure import measure
from benchmarks.plan import Plan
from benchmarks.sizes import SIZES
from benchmarks.systems import System

FAKE = str(Path(__file__).parent / "fake_peer.py")


@pytest.fixture
def turns(tmp_path):
    return tmp_path / "turns"


def system(turns, name, scale=1.0, failure="none"):
    return System(name, (sys.executable, FAKE, name, str(scale), str(turns), failure))


def plan(*systems, **changes):
    plan = Plan(SIZES["tiny"], systems, ["float32"], steps=4, repeats=3, threads=1, device="cpu")
    return replace(plan, **changes)


def test_systems_take_turns_after_a_short_warm_up(turns, tmp_path):
    run = plan(system(turns, "peer"), system(turns, "exact"))
    measure(run.work(tmp_path), tmp_path, repeats=run.repeats)
    assert turns.read_text().split("\n")[:-1] == ["peer 2", "exact 2"] + ["peer 4", "exact 4"] * 3


def test_without_turns_one_system_ends_before_the_next_starts(turns, tmp_path):
    run = plan(system(turns, "peer"), system(turns, "exact"))
    measure(run.work(tmp_path), tmp_path, repeats=1, interleaved=False)
    assert turns.read_text().split("\n")[:-1] == ["peer 2", "peer 4", "exact 2", "exact 4"]


def test_rows_sum_up_and_compare_latents_with_the_first(turns, tmp_path):
    run = plan(
        system(turns, "peer", 2.0), system(turns, "exact", 2.1), dtypes=["float32", "bfloat16"]
    )
    rows = measure(run.work(tmp_path), tmp_path, repeats=2)
    named = [(row.system, row.dtype, row.peak_memory_bytes) for row in rows]
    assert named == [
        ("peer", "float32", 2000),
        ("exact", "float32", 2000),
        ("peer", "bfloat16", 1000),
        ("exact", "bfloat16", 1000),
    ]
    assert rows[0].relative_error == 0
    assert rows[1].relative_error == pytest.approx(0.05, rel=1e-4)
    assert rows[1].seconds == rows[1].processor_seconds == 4.75
    assert rows[1].spread == (4.75, 4.75)
    assert rows[1].stages == {"encode": 0.5, "denoise": 4.0, "decode": 0.25}
    assert [row.torch for row in rows[:2]] == ["peer's", "exact's"]
    assert rows[0].loading == 0.1


@pytest.mark.parametrize(
    ("failure", "said"), [("dies", "the device was lost"), ("tells", "no such thing")]
)
def test_a_process_that_fails_is_named_with_the_end_of_its_log(turns, tmp_path, failure, said):
    run = plan(system(turns, "peer", failure=failure))
    with pytest.raises(RuntimeError, match=r"peer \(float32\) failed") as raised:
        measure(run.work(tmp_path), tmp_path, repeats=1)
    assert said in str(raised.value)
    assert "loading took no time" in str(raised.value)
