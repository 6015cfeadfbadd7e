"""Benchmarks: cases from tables, effect packs or the procedural renderer."""
