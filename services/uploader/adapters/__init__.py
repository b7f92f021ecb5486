"""The uploader's ports on gRPC, NATS and object storage."""
