"""Reads the list of images in a response, item by item."""

import json
from collections.abc import Callable
from typing import Any

from services.generator.domain import untrusted_text
from services.generator.domain.provider_results import ImageSource


def read(listed: Any, source: Callable[[Any], ImageSource | None]) -> tuple[ImageSource, ...]:
    """Returns the images that `source` reads from the items, then the items that it could not read, as JSON.

    An unreadable item may have been charged like the others, so it is staged as an image that does not decode. Returns
    nothing if no item is readable: then the response as a whole is an error.
    """
    items = [item for item in listed if item] if isinstance(listed, list) else []
    sources = [source(item) for item in items]
    found = [item for item in sources if item is not None]
    unread = [item for item, made in zip(items, sources, strict=True) if made is None]
    kept = (ImageSource(data=untrusted_text.without_secrets(json.dumps(item).encode())) for item in unread)
    return (*found, *kept) if found else ()
