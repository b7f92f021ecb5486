"""The generator's ports on gRPC, NATS, object storage, HTTP and Pillow; providers in a package of their own."""
