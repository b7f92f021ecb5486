"""The gateway: HTTP and JSON in, gRPC out. It owns no state; whatever it says it has asked job-service for.

Clients reach it by HTTP alone; nothing imports it.
"""
