"""Tests: unit mirrors the source, conformance holds adapters to their ports, integration and e2e run real servers."""
