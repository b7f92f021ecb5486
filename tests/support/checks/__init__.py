"""Checks of names and dependencies that `make` runs."""
