"""The gateway translates REST to gRPC. It stores nothing: everything that it returns comes from job-service.

Clients call it over HTTP; no other package imports it.
"""
