"""How a model is run: in which memory, how fast, on how many devices; the model stays the same."""
