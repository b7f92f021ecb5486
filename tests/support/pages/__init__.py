"""Generators of pages and files in docs."""
