"""The embedded stack: real servers and the services, each a separate process on 127.0.0.1, data in one folder."""
