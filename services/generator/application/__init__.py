"""Use cases of generator-service: run a claimed job, and settle open provider calls of final jobs."""
