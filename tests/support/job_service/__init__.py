"""job-service for tests: its use cases, its API, a fake, and the invariants of its tables."""
