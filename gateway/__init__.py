"""The gateway translates REST to gRPC. It owns no state: everything that it returns comes from job-service.

Clients reach it over HTTP; no other package imports it.
"""
