"""Calls to job-service and the notifier over gRPC: clients, their concurrency limit, quotas, submission, readiness."""
