"""Health of a process for probes over HTTP, which need neither a certificate nor an identity."""

from collections.abc import Iterator
from contextlib import contextmanager

from common.health import Readiness


class HealthProbes:
    """Answers `/healthz` and `/readyz` of the admin port; not ready before `follow` and after its block."""

    def __init__(self) -> None:
        self._ready: Readiness | None = None

    @contextmanager
    def follow(self, ready: Readiness) -> Iterator[None]:
        """Answers `/readyz` with this readiness in the block; enter it once the process serves its other ports."""
        self._ready = ready
        try:
            yield
        finally:
            self._ready = None

    def response(self, path: str) -> tuple[int, bytes] | None:
        """Returns status and body, None for another path; the body names conditions, but not why they do not hold."""
        if path == "/healthz":
            return 200, b"ok\n"
        if path != "/readyz":
            return None
        if self._ready is None:
            return 503, b"not ready: starting or stopping\n"
        missing = [condition.name for condition in self._ready.report() if not condition.ok]
        return (503, f"not ready: {', '.join(missing)}\n".encode()) if missing else (200, b"ok\n")
