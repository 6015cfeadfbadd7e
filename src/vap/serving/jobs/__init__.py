"""Jobs: their queue in a database, and the workers that make their videos."""
