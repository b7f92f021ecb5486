"""Calls to job-service over gRPC: clients, their concurrency limit, quotas, submission, readiness."""
