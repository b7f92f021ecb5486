"""Identities and certificates of a test."""
