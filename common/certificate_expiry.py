"""When the certificate files of a process expire, read again and again, as files are replaced while it runs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from common.broker_settings import BrokerSettings
from common.grpc_tls import TlsSettings
from common.loops import run_every
from common.telemetry import metrics, registry

#: Seconds between two readings.
INTERVAL_SECONDS = 30.0
#: Bytes of a file that are read.
MAX_BYTES = 4 * 1024 * 1024
#: Of a chain, the first certificate to expire counts. Of authorities the last one does: after a change of authorities,
#: a file has the old one and the new one, and the old one may expire.
_COUNTS: Mapping[str, Callable[[Sequence[datetime]], datetime]] = {
    "grpc": min, "grpc_authorities": max, "nats_authorities": max,
}  # fmt: skip


class CertificateExpiry:
    """Shows in how many seconds each certificate file expires; an unreadable file keeps what was read before."""

    def __init__(self, files: Mapping[str, Path], *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._files = files
        self._clock = clock
        self._ends: dict[str, datetime] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Reads until `stop` is set; returns at once without files."""
        if self._files:
            await run_every("certificate_expiry", self.run_once, interval=INTERVAL_SECONDS, stop=stop)

    async def run_once(self) -> Mapping[str, int] | None:
        """Reads all files once; returns None."""
        self._ends |= await asyncio.to_thread(_read, self._files)
        now = self._clock()
        for name, end in self._ends.items():
            metrics.set_gauge(registry.CERTIFICATE_EXPIRES_IN_SECONDS, (end - now).total_seconds(), name)
        return None


def certificate_files(settings: TlsSettings) -> dict[str, Path]:
    """Returns the certificate files that the settings name, by the metric's label."""
    files = {"grpc": settings.grpc_tls_cert_file, "grpc_authorities": settings.grpc_tls_ca_file}
    if isinstance(settings, BrokerSettings):
        files["nats_authorities"] = settings.nats_tls_ca_file
    return {name: path for name, path in files.items() if path is not None}


def _read(files: Mapping[str, Path]) -> dict[str, datetime]:
    # Here, not above: a process without certificates needs none of this library.
    from cryptography import x509

    ends = {}
    for name, path in files.items():
        try:
            with path.open("rb") as file:
                found = x509.load_pem_x509_certificates(file.read(MAX_BYTES))
        except (OSError, ValueError):
            continue
        ends[name] = _COUNTS[name]([certificate.not_valid_after_utc for certificate in found])
    return ends
