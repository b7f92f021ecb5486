"""Fakes around a generator: job-service, facts, staging, a provider, and faults at every call."""
