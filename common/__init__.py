"""Mechanisms that every process needs: settings, logs, traces, gRPC, the broker, the database, object storage.

Every other package may import this one. It knows neither contracts nor services: a file that names a job, an image or
a provider is in the wrong package.
"""

from common import deferred_modules

# Before any library is imported by what needs it.
deferred_modules.install()
