"""A forward proxy between us and receivers: CONNECT for https, the absolute form of the URL for http."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from services.notifier.adapters.failures import AttemptFailed
from services.notifier.adapters.receiver_url import HOST
from services.notifier.domain.attempts import AttemptError

#: Statuses by which proxies say that the receiver cannot be reached, or not in time.
_UNREACHABLE = frozenset({502, 503, 504})
_FORBIDDEN, CREDENTIALS_REQUIRED = 403, 407


@dataclass(frozen=True, kw_only=True)
class ForwardProxy:
    """A forward proxy that the operator chose; its own address may be private."""

    #: Scheme, host and port.
    url: httpcore.URL
    #: User name and password; None for none.
    credentials: tuple[bytes, bytes] | None = field(default=None, repr=False)

    @property
    def uses_tls(self) -> bool:
        """Whether the proxy itself is reached by TLS."""
        return self.url.scheme == b"https"

    def pool(self, backend: httpcore.AsyncNetworkBackend, tls: ssl.SSLContext) -> httpcore.AsyncConnectionPool:
        """Returns a pool whose connections go through the proxy, which the backend connects to."""
        return httpcore.AsyncHTTPProxy(
            self.url,
            proxy_auth=self.credentials,
            ssl_context=tls,
            proxy_ssl_context=tls if self.uses_tls else None,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=backend,
        )


def read(url: str) -> ForwardProxy:
    """Reads the URL of a proxy, such as `http://user:password@proxy:3128`. Raises `ValueError`, without the URL."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise ValueError("the URL of the forward proxy cannot be read") from None
    is_plain = parsed.scheme in ("http", "https") and parsed.raw_path in (b"", b"/")
    if not is_plain or not HOST.fullmatch(parsed.raw_host):
        raise ValueError("the URL of the forward proxy is not http or https, host and port")
    name, _, password = parsed.userinfo.partition(b":")
    return ForwardProxy(
        url=httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=b"/"),
        credentials=(unquote_to_bytes(name), unquote_to_bytes(password)) if parsed.userinfo else None,
    )


def refusal(error: httpcore.ProxyError) -> AttemptFailed:
    """Returns the failure when a proxy refused to open a tunnel.

    That the receiver cannot be reached, or must not be, is the receiver's failure; anything else is the proxy's own.
    """
    # The message of httpcore is the status and the reason phrase.
    status = str(error)[:3]
    code = int(status) if status.isdecimal() else 0
    if code in _UNREACHABLE:
        return AttemptFailed(AttemptError.CONNECT, f"The forward proxy cannot reach the receiver (status {code}).")
    if code == _FORBIDDEN:
        return AttemptFailed(AttemptError.BLOCKED_ADDRESS, f"The forward proxy forbids the receiver (status {code}).")
    return AttemptFailed(AttemptError.PROXY, f"The forward proxy returned status {code}.")
