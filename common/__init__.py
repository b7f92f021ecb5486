"""Mechanisms that every process needs: settings, logs, traces, gRPC, the broker, the database, object storage.

Everybody may import this package. It knows neither contracts nor services: a file that names a job, an image or a
provider is in the wrong place.
"""
