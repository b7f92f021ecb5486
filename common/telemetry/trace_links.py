"""Addresses of traces at the program that shows them."""

from urllib.parse import urlsplit

from common.config import ConfigError

PLACEHOLDER = "{trace_id}"


def checked(template: str | None) -> str | None:
    """Returns the setting `trace_url`, a URL with a placeholder; None if unset. Raises `ConfigError`."""
    if template is None:
        return None
    try:
        parts = urlsplit(template)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        is_url = False
    if not is_url or PLACEHOLDER not in template:
        raise ConfigError(f"CALOTYPE_TRACE_URL: {template[:80]!r} is no URL of http or https with {PLACEHOLDER}.")
    return template


def link(template: str | None, trace_id: str) -> str | None:
    """Returns the address of a trace; None without a template, or for an empty id."""
    return template.replace(PLACEHOLDER, trace_id) if template and trace_id else None
