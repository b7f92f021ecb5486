"""gRPC services of the notifier."""
