"""The `calotype` command: the embedded stack, and a client of the REST API."""
