"""The studio: the page at ``/`` of the service."""
