"""Settings of the connection to the message broker: address, credential, TLS."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from common.config import ConfigError


@dataclass(frozen=True, kw_only=True)
class BrokerSettings:
    """Broker settings from the environment, one field per `CALOTYPE_...` variable."""

    #: `nats://host:port`, or `tls://host:port` for TLS; several of one cluster with commas between them.
    nats_url: str
    #: Password of the service; the user name is the service's name. None: connect without a user.
    nats_password: str | None = field(default=None, repr=False, metadata={"secret": True})
    #: PEM file with the authorities of the broker's certificate; setting it turns TLS on. None: those of the system.
    nats_tls_ca_file: Path | None = None

    def broker_tls(self) -> ssl.SSLContext | None:
        """Returns a TLS context that verifies the broker's certificate and host name; None without TLS.

        TLS is on with a `tls://` URL or a file of authorities. Raises `ConfigError` for an unusable file.
        """
        authorities = self.nats_tls_ca_file
        if authorities is None and urlsplit(self.nats_url).scheme != "tls":
            return None
        try:
            return ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise ConfigError(f"CALOTYPE_NATS_TLS_CA_FILE: {authorities} holds no certificate.") from error
