"""Commands that are clients of the REST API, as any frontend is."""
