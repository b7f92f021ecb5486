"""Clocks that a test controls, and virtual time."""
