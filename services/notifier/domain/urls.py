"""Literal checks of receivers' URLs: what can be said without resolving a name."""

import re
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from services.notifier.domain.endpoints import MAX_URL

#: Returns whether a host may be reached at a port, as far as it is an IP address; True for a name.
IsAllowedLiteral = Callable[[str, int], bool]
DEFAULT_PORTS = {"http": 80, "https": 443}
#: Origin of a callback URL that is no URL: its deliveries fail.
NO_ORIGIN = "invalid"
# A backslash and a percent sign in the host are read differently by different libraries.
_VISIBLE = re.compile(r"[!-\[\]-~]+")
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+")
MAX_HOST = 253


def fault(url: str, is_allowed_literal: IsAllowedLiteral) -> str | None:
    """Returns what is wrong with a receiver's URL, one sentence; None for nothing."""
    if not 1 <= len(url) <= MAX_URL:
        return f"1 to {MAX_URL:,} characters."
    parts = _split(url)
    if parts is None:
        return "Must be an http or https URL of visible ASCII characters, without credentials."
    if not is_allowed_literal(str(parts.hostname), _port(parts)):
        return "This address or port is not allowed."
    return None


def origin(url: str) -> str:
    """Returns scheme, host and port of a URL, such as `https://example.com:443`; `NO_ORIGIN` for what is no URL."""
    parts = _split(url)
    if parts is None:
        return NO_ORIGIN
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}:{_port(parts)}"


def _split(url: str) -> SplitResult | None:
    """Returns the parts of an http or https URL that every library reads alike; None for another text."""
    if not _VISIBLE.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        # Raises for a port that is no number of 0 to 65535.
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    readable = _IPV6.fullmatch(host) if ":" in host else _NAME.fullmatch(host)
    if parts.scheme not in DEFAULT_PORTS or "@" in parts.netloc or port == 0 or not readable or len(host) > MAX_HOST:
        return None
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or DEFAULT_PORTS[parts.scheme]
