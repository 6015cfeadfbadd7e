from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.rows import PATHS, TEXT
from vap.data.benchmark import Benchmark, read_benchmark, write_benchmark
from vap.data.rows import BenchmarkRow, ProblemKind, TableError

CASES = st.builds(BenchmarkRow, PATHS, PATHS, TEXT, TEXT)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cases=st.lists(CASES, max_size=3))
def test_reading_back_a_written_benchmark_gives_equal_cases(tmp_path, suffix, cases):
    path = tmp_path / f"benchmark{suffix}"
    write_benchmark(cases, path)
    assert read_benchmark(path) == Benchmark(tuple(cases))


def test_a_case_that_leaves_the_folder_is_reported_or_refused(tmp_path):
    path = tmp_path / "benchmark.csv"
    write_benchmark([BenchmarkRow("a.mp4", "../b.mp4", "", "")], path)
    assert [fault.kind for fault in read_benchmark(path, on_error="skip").problems] == [
        ProblemKind.BAD_PATH
    ]
    with pytest.raises(TableError, match="row 1"):
        read_benchmark(path)
