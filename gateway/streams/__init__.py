"""Follows a job: until it changes, until it is final, and as server-sent events."""
