"""Routes of the service, in the shape of OpenAI's videos API."""
