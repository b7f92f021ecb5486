"""Measures speed. `make bench` runs the parts in `__main__.py`; the tests do not run any of it.

`deletions`, `hostile`, `scrapes`, `tracing` and `webhooks` are programs of their own, each for one question.
"""
