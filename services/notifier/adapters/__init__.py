"""Adapters: job-service over gRPC, receivers over HTTP, signatures."""
