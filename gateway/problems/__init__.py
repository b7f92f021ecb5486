"""Errors of the REST API: the table of reasons, and RFC 9457 problem details."""
