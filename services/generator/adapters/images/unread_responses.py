"""Images in responses that do not have the form of the provider's API: the body is an image, or its events hold some.

Sources for the events: OpenAI's images API (`image_generation.partial_image`, `image_generation.completed`), and
the Gemini API, whose events equal its responses without a stream.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from services.generator.adapters.images import errors
from services.generator.domain.provider_results import ImageSource

#: Beginnings of PNG, JPEG and WebP images in base64, in both alphabets.
_ENCODED = ("iVBORw0KGgo", "/9j/", "_9j_", "UklGR")
_TRACES = re.compile(
    rb"iVBORw0KGgo|(?:/|\\/|_)9j(?:/|\\/|_)[A-Za-z0-9]{4}|UklGR[A-Za-z0-9+/_-]{9}XRUJQ|"
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP",
    re.DOTALL,
)
#: Characters of the shortest text that may be an image.
_SHORTEST = 64
_EVENTS = re.compile(rb"\s*(?::|(?:data|event|id|retry):)")
_ENDS_OF_EVENTS = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def may_hold_images(body: bytes) -> bool:
    """Returns whether a response contains traces of images, in base64 or as bytes."""
    return _TRACES.search(body) is not None


def images_in(body: bytes, *, limit: int) -> list[ImageSource]:
    """Returns the last `limit` possible images of a response.

    Images inside plain JSON are not returned, as they may be those of the request.
    """
    if errors.looks_like_image(body):
        return [ImageSource(data=body)]
    # The beginning is enough; the whole may be large.
    start = body[:100].decode("ascii", "replace").strip().lstrip('"')
    if _is_encoded(start, shortest=0):
        return [ImageSource(base64=body.decode("ascii", "replace").strip().strip('"'))]
    return _of_events(body, limit=limit) if _EVENTS.match(body) else []


def _of_events(body: bytes, *, limit: int) -> list[ImageSource]:
    """Returns the images of an event stream; the last draft when the stream ended before any was finished.

    A stream with an error event has none: its drafts may show refused content.
    """
    finished, drafts = deque[ImageSource](maxlen=limit), deque[ImageSource](maxlen=1)
    for event in _events(body):
        kind = event.get("type")
        if event.get("error") or kind == "error":
            return []
        images = drafts if isinstance(kind, str) and "partial" in kind else finished
        images.extend(_sources(event))
        listed = event.get("data")
        for item in (event, *(listed if isinstance(listed, list) else ())):
            url = item.get("url") if isinstance(item, dict) else None
            if isinstance(url, str) and url.startswith(("http://", "https://")):
                images.append(ImageSource(url=url))
    return list(finished or drafts)


def _events(body: bytes) -> Iterator[Mapping[str, Any]]:
    """Yields the events of a stream that are JSON objects; skips truncated and other ones."""
    for event in _ENDS_OF_EVENTS.split(body):
        lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
        try:
            content = json.loads(b"\n".join(lines))
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            yield content


def _sources(content: Any) -> Iterator[ImageSource]:
    """Yields the base64 images anywhere in an event, in order."""
    remaining = deque([content])
    while remaining:
        value = remaining.popleft()
        if isinstance(value, dict | list):
            remaining.extendleft(reversed(value.values() if isinstance(value, dict) else value))
        elif isinstance(value, str) and _is_encoded(value, shortest=_SHORTEST):
            yield ImageSource(base64=value)


def _is_encoded(text: str, *, shortest: int) -> bool:
    bare = text[:100].partition(",")[2] if text.startswith("data:image/") else text
    return len(text) >= shortest and bare.startswith(_ENCODED)
