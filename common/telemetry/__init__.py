"""Telemetry: spans and metrics, by the names that the registry declares."""
