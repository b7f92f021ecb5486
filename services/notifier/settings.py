"""What notifier-service reads from its environment."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from common.admin_port import AdminSettings
from common.broker_settings import BrokerSettings
from common.config import ConfigError
from common.grpc_access import ServerSettings
from common.grpc_client import ClientSettings
from common.network.guarded_connect import DEFAULT_PORTS, AddressPolicy
from services.notifier.adapters.connections import trusted_certificates

#: Highest port of TCP, and its digits.
MAX_PORT, MAX_DIGITS = 65_535, 5


@dataclass(frozen=True, kw_only=True)
class Settings(ServerSettings, ClientSettings, BrokerSettings, AdminSettings):
    """One field per `CALOTYPE_...` variable; docs/settings.md is made from the comments."""

    #: PostgreSQL database of the webhooks, `postgresql://USER:PASSWORD@HOST:PORT/NAME`, with the notifier's own role.
    #: With several `HOST:PORT` and commas between them, the one that takes writes is used.
    database_url: str = field(repr=False, metadata={"secret": True})
    #: Address of job-service's JobService.
    job_address: str
    #: URL of the HTTP API, with which links in events begin, such as `https://images.example`.
    api_base_url: str
    #: Address on which WebhookService, health and OperationsService listen.
    grpc_listen: str
    #: Deliveries that the process attempts at a time: three quarters for endpoints that work, an eighth for new ones,
    #: and an eighth for slow ones. Long attempts free their slots, so that more may be open.
    notifier_slots: int = field(default=64, metadata={"min": 4, "max": 1024})
    #: Whether receivers may have private addresses; link-local ones, and so those of metadata servers, stay refused.
    webhook_allow_private: bool = False
    #: Ports that receivers may have. Unset: 80, 443, 8080 and 8443, or every port if
    #: `webhook_allow_private` is true.
    webhook_ports: tuple[str, ...] = ()
    #: URL of a forward proxy through which events are sent. The proxy then resolves names, and decides where they lead.
    webhook_proxy_url: str | None = field(default=None, repr=False, metadata={"secret": True})
    #: PEM file with authorities of receivers' certificates, besides those of certifi. None: no others.
    webhook_ca_file: Path | None = None
    #: Webhooks that a tenant may have.
    webhooks_per_tenant: int = field(default=20, metadata={"min": 0, "max": 1000})
    #: Deliveries to one webhook that are attempted in a minute.
    webhook_deliveries_per_minute: int = field(default=6000, metadata={"min": 1})
    #: Time that attempts under way have to finish after SIGTERM; less than what the orchestrator waits before it kills.
    grace_seconds: float = field(default=30.0, metadata={"min": 0})
    #: URL of a trace at the program that shows traces, with `{trace_id}` for its id, such as
    #: `https://traces.example/trace/{trace_id}`; jobs then have it as `links.trace`. Unset: null.
    trace_url: str | None = None
    #: Least severe level that is written to the log; audit events are always written.
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    #: `json` writes one JSON object per line, `text` lines for people; `auto` is `text` on a terminal, else `json`.
    log_format: Literal["auto", "text", "json"] = "auto"

    @property
    def address_policy(self) -> AddressPolicy:
        """Addresses and ports that receivers may have. Raises `ConfigError`."""
        for port in self.webhook_ports:
            if not (port.isascii() and port.isdigit() and len(port) <= MAX_DIGITS and 1 <= int(port) <= MAX_PORT):
                raise ConfigError(f"CALOTYPE_WEBHOOK_PORTS: {port[:80]!r} is no port; it must be 1 to {MAX_PORT}.")
        unset = None if self.webhook_allow_private else DEFAULT_PORTS
        ports = frozenset(map(int, self.webhook_ports)) or unset
        return AddressPolicy(allow_private=self.webhook_allow_private, ports=ports)

    def receiver_tls(self) -> ssl.SSLContext:
        """Returns the TLS context for receivers. Raises `ConfigError` for an unusable file of authorities."""
        try:
            return trusted_certificates(self.webhook_ca_file)
        except OSError as error:
            raise ConfigError(f"CALOTYPE_WEBHOOK_CA_FILE: {self.webhook_ca_file} holds no certificate.") from error

    @property
    def root(self) -> str:
        """`api_base_url` without a trailing slash. Raises `ConfigError`."""
        try:
            parts = urlsplit(self.api_base_url)
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        except ValueError:
            is_url = False
        if not is_url or parts.query or parts.fragment:
            raise ConfigError(f"CALOTYPE_API_BASE_URL: {self.api_base_url[:80]!r} is no URL of http or https.")
        return self.api_base_url.rstrip("/")
