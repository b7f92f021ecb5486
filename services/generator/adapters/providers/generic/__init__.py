"""Provider kind `generic`: any HTTP API, described by settings."""
