"""VAP-Data: tables, pairing, preference pairs, and building a dataset from clips."""
