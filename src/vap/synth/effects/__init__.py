"""The effects of all conditions, a file or two for each category."""
