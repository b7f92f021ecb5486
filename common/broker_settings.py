"""How a process reaches the message broker, and what it shows there."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common.config import ConfigError


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """One field per `CALOTYPE_...` variable; the broker's user has the service's name."""

    #: NATS server, `nats://HOST:PORT` or `tls://HOST:PORT`.
    nats_url: str
    #: Password of the broker's user; the user is `job`, `generator` or `uploader`, as the service.
    nats_password: str | None = field(default=None, repr=False, metadata={"secret": True})
    #: Authorities of the broker's certificate, in PEM form; setting it requires TLS. Unset, those of the
    #: system count.
    nats_tls_ca_file: Path | None = None

    def broker_tls(self) -> ssl.SSLContext | None:
        """Checks the broker's certificate and its name; None where nothing asks for TLS. Raises `ConfigError`."""
        authorities = self.nats_tls_ca_file
        if authorities is None and urlsplit(self.nats_url).scheme != "tls":
            return None
        try:
            return ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise ConfigError(f"CALOTYPE_NATS_TLS_CA_FILE: {authorities} holds no certificate.") from error
