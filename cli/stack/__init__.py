"""The embedded stack: real servers and the services, each a process of its own on 127.0.0.1, data in one folder."""
