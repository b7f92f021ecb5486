"""The images of a list in an answer, one by one."""

import json
from collections.abc import Callable
from typing import Any

from services.generator.domain import foreign_text
from services.generator.domain.provider_results import ImageSource


def read(listed: Any, source: Callable[[Any], ImageSource | None]) -> tuple[ImageSource, ...]:
    """The images that `source` makes of the items; after them what it could not read, if it could read any.

    An item that could not be read may have been paid for like the others. As an image that does not decode it is
    staged as it came. Where no item can be read the answer as a whole is judged, so nothing is returned.
    """
    items = [one for one in listed if one] if isinstance(listed, list) else []
    sources = [source(one) for one in items]
    found = [one for one in sources if one is not None]
    unread = [one for one, made in zip(items, sources, strict=True) if made is None]
    kept = (ImageSource(data=foreign_text.without_secrets(json.dumps(one).encode())) for one in unread)
    return (*found, *kept) if found else ()
