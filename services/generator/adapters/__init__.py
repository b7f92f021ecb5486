"""Implementations of the generator's ports with gRPC, NATS, object storage, HTTP and Pillow; providers in a package."""
