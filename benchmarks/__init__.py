"""What the package costs to run, measured: ``python -m benchmarks`` and single scripts."""
