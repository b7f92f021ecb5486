"""Mechanisms that every process needs: settings, logs, traces, gRPC, the broker, the database, object storage.

Every other package may import this one. It knows neither contracts nor services: a file that names a job, an image or
a provider is in the wrong package.
"""

import sys

# httpx would load its command line, which takes 4 MB, and does without it where it is not installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
