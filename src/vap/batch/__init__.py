"""Many videos from a file of requests: resumable, on this machine or a Ray cluster."""
