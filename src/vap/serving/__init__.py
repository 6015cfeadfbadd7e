"""The service: videos over HTTP, made by workers that share one queue."""
