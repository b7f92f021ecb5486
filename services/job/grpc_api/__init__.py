"""The gRPC services: translate calls of clients, workers and operators for the application."""
