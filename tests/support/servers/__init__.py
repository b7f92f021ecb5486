"""Servers that tests start: PostgreSQL, NATS, object storage, DNS, an OTLP collector, TCP."""
