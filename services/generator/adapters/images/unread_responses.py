"""Images in answers that are not of the API's own form: the body is one, or its events hold some.

Sources of the form of events: OpenAI's images API (`image_generation.partial_image`, `image_generation.completed`), and
the Gemini API, whose events are answers as they are without a stream.
"""

import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from services.generator.adapters.images import errors
from services.generator.domain.provider_results import ImageSource

#: How images begin in base64: PNG, JPEG, WebP; in either alphabet, and as JSON may write a slash.
_ENCODED = ("iVBORw0KGgo", "/9j/", "_9j_", "UklGR")
_TRACES = re.compile(
    rb"iVBORw0KGgo|(?:/|\\/|_)9j(?:/|\\/|_)[A-Za-z0-9]{4}|UklGR[A-Za-z0-9+/_-]{9}XRUJQ|"
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP",
    re.DOTALL,
)
#: A shorter text is no image.
_SHORTEST = 64
_EVENTS = re.compile(rb"\s*(?::|(?:data|event|id|retry):)")
_ENDS_OF_EVENTS = re.compile(rb"\r\n\r\n|\n\n|\r\r")


def may_hold_images(body: bytes) -> bool:
    """Whether there are traces of images in an answer, encoded or as they are."""
    return _TRACES.search(body) is not None


def images_in(body: bytes, *, most: int) -> list[ImageSource]:
    """What may be the answer's images, the last ones, at most so many.

    JSON holds none that could be told from others, such as those that the request brought.
    """
    if errors.looks_like_image(body):
        return [ImageSource(data=body)]
    # The beginning tells; the whole may be large.
    start = body[:100].decode("ascii", "replace").strip().lstrip('"')
    if _is_encoded(start, shortest=0):
        return [ImageSource(base64=body.decode("ascii", "replace").strip().strip('"'))]
    return _of_events(body, most=most) if _EVENTS.match(body) else []


def _of_events(body: bytes, *, most: int) -> list[ImageSource]:
    """The images of a stream of events; where it has ended before they were finished, the last draft.

    A stream that tells an error has none: its drafts may be of what was refused.
    """
    finished, drafts = deque[ImageSource](maxlen=most), deque[ImageSource](maxlen=1)
    for event in _events(body):
        kind = event.get("type")
        if event.get("error") or kind == "error":
            return []
        found = drafts if isinstance(kind, str) and "partial" in kind else finished
        found.extend(_sources(event))
        listed = event.get("data")
        for one in (event, *(listed if isinstance(listed, list) else ())):
            url = one.get("url") if isinstance(one, dict) else None
            if isinstance(url, str) and url.startswith(("http://", "https://")):
                found.append(ImageSource(url=url))
    return list(finished or drafts)


def _events(body: bytes) -> Iterator[Mapping[str, Any]]:
    """The events of a stream that are objects; what is cut or something else is left out."""
    for event in _ENDS_OF_EVENTS.split(body):
        lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
        try:
            told = json.loads(b"\n".join(lines))
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            yield told


def _sources(told: Any) -> Iterator[ImageSource]:
    """Texts anywhere in an event that are encoded images."""
    left = deque([told])
    while left:
        one = left.popleft()
        if isinstance(one, dict | list):
            left.extendleft(reversed(one.values() if isinstance(one, dict) else one))
        elif isinstance(one, str) and _is_encoded(one, shortest=_SHORTEST):
            yield ImageSource(base64=one)


def _is_encoded(text: str, *, shortest: int) -> bool:
    bare = text[:100].partition(",")[2] if text.startswith("data:image/") else text
    return len(text) >= shortest and bare.startswith(_ENCODED)
