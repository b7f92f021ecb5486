"""The gRPC services: clients and workers ask, the application answers."""
