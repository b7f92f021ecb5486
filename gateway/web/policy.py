"""The Content-Security-Policy of the pages, which lets them load from this gateway, and images from the image store."""

import re
from collections.abc import Mapping

#: A URL that can stand in the policy: no spaces, commas, semicolons or quotes.
_SOURCE = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/%-]*)?")


def page_headers(public_base_url: str | None) -> Mapping[str, str]:
    """Returns the security headers of a page.

    `public_base_url` is the start of the URLs of images, None if it is unknown: pages then show no images. Scripts may
    read images, too, to save them under a name. Raises `ValueError` if it cannot be a source of the policy.
    """
    store = "" if public_base_url is None else f" {_source(public_base_url)}"
    directives = (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        f"connect-src 'self'{store}",
        f"img-src 'self' blob:{store}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return {"Content-Security-Policy": "; ".join(directives), "Cross-Origin-Opener-Policy": "same-origin"}


def _source(url: str) -> str:
    if not _SOURCE.fullmatch(url):
        raise ValueError("must be an http or https URL without user name, query and special characters")
    # A source whose path ends with a slash covers all paths below it.
    return url if url.endswith("/") else f"{url}/"
