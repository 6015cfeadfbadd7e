"""What exists only for the bundled model: its evaluation and its story."""
