"""Commands that are clients of the REST API: the same as any frontend, from a terminal."""
