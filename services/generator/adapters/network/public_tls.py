"""TLS to servers of the internet, for providers and images."""

import functools
import ssl

import httpx


@functools.cache
def public_tls() -> ssl.SSLContext:
    """Returns the trusted certificates; read once, because that takes longer than drawing an image, and 2 MB."""
    return httpx.create_ssl_context(trust_env=False)
