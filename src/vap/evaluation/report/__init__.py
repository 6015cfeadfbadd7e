"""Reports of a run: rows with intervals, differences between systems, tables."""
