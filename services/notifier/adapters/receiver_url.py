"""Reads a receiver's URL; one reading serves the checks and the connection."""

import re

import httpx

from common.network.guarded_connect import AddressPolicy
from services.notifier.adapters.failures import AttemptFailed
from services.notifier.domain.attempts import AttemptError

#: Names and IP addresses, without brackets and zones.
HOST = re.compile(rb"[0-9A-Za-z._:-]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def read(url: str, policy: AddressPolicy) -> httpx.URL:
    """Returns a receiver's URL; raises `AttemptFailed` for one that must not be posted to, whatever its name means."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise _refused("The receiver's URL cannot be read.") from error
    is_plain = parsed.scheme in _DEFAULT_PORTS and HOST.fullmatch(parsed.raw_host) and not parsed.userinfo
    if not is_plain or not url.isprintable() or " " in url:
        raise _refused("The receiver's URL is not a plain http or https URL.")
    port = parsed.port if parsed.port is not None else _DEFAULT_PORTS[parsed.scheme]
    if not 0 < port < 65_536:
        raise _refused(f"There is no port {port}.")
    if not policy.allows_port(port):
        raise _refused(f"Port {port} is not allowed.")
    if not policy.allows_literal(parsed.raw_host.decode(), port):
        raise _refused("The receiver's address is not allowed.")
    return parsed


def _refused(message: str) -> AttemptFailed:
    return AttemptFailed(AttemptError.BLOCKED_ADDRESS, message)
