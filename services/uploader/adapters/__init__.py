"""Implementations of the uploader's ports with gRPC, NATS and object storage."""
