"""Calotype's contracts: messages and services by version, names of streams, objects and settings, and size limits.

Every package may import this one; it imports none of Calotype's other packages.
"""

__version__ = "0.1.0"
