"""How many clips a second `vap data encode` writes with the golden encoders.

Clips of 81 frames at 480×832 are read and resized as in earnest; the encoders are tiny and see five
small frames, so the rate is an upper bound that says what everything but the encoders costs.

    python benchmarks/encode.py --clips 64 --workers 1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.data.encoding import job_of, written_rows

from vap.data.encode import read_frames, run_job
from vap.data.encoded import EncodedClips


def main() -> None:
    """Print rates of encoding, of reading clips, and of reading shards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = written_rows(folder / "clips", arguments.clips, (480, 832), length=81)
        job = job_of(rows, folder / "clips", folder / "shards")
        run_job(job_of(rows[:2], folder / "clips", folder / "warm"))
        started = time.perf_counter()
        run_job(job, workers=arguments.workers)
        encoded = time.perf_counter() - started
        started = time.perf_counter()
        for row in rows:
            read_frames(folder / "clips" / row.video, job.settings)
        read = time.perf_counter() - started
        shards = EncodedClips(folder / "shards")
        started = time.perf_counter()
        for row in rows:
            shards.read(row.video)
        loaded = time.perf_counter() - started
        size = sum(path.stat().st_size for path in (folder / "shards").iterdir()) / len(rows)
    for what, seconds in (("encode", encoded), ("read clips", read), ("read shards", loaded)):
        print(f"{what:<12}{len(rows) / seconds:>10.1f} clips/s")
    print(f"{'size':<12}{size / 1024:>10.1f} KiB a clip")


if __name__ == "__main__":
    main()
