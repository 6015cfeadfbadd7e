"""Compare systems on benchmarks: videos, scores, reports, a blind study."""
