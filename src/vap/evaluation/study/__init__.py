"""A blind study: raters pick the best of unnamed videos."""
