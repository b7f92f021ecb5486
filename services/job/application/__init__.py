"""Use cases of job-service: lock, read, decide, write. Each runs inside one transaction that its caller opened."""
