"""The description of an object that a client sends with its bytes, or in place of a copy's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.stack.object_store.http import ApiError

#: Bytes of an object's own metadata, as in Google Cloud Storage.
MOST_METADATA = 8 * 1024
#: Fields with digests, by kind.
DIGESTS = {"crc32c": "crc32c", "md5": "md5Hash"}
# What is sent as a header of an answer.
_VALUE = re.compile(r"[\x20-\x7e]{0,256}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")


@dataclass(frozen=True, kw_only=True)
class Description:
    """Name, how it is served, digests (in base64, by kind) that the bytes must have; what was not given is empty."""

    name: str = ""
    content_type: str = ""
    cache_control: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


def parse_description(found: Mapping[str, Any]) -> Description:
    """A description as the API's JSON has it. Raises `ApiError`."""
    name, metadata = found.get("name") or "", found.get("metadata") or {}
    values = {key: found.get(key) or "" for key in ("contentType", "cacheControl", *DIGESTS.values())}
    if not isinstance(name, str) or not all(isinstance(one, str) and _VALUE.fullmatch(one) for one in values.values()):
        raise ApiError(400, "The description of the object is not valid.")
    if not _is_metadata(metadata):
        raise ApiError(400, f"The metadata is not valid, or has more than {MOST_METADATA} bytes.")
    return Description(
        name=name,
        content_type=values["contentType"],
        cache_control=values["cacheControl"],
        metadata=metadata,
        digests={kind: values[key] for kind, key in DIGESTS.items() if values[key]},
    )


def _is_metadata(found: object) -> bool:
    if not isinstance(found, dict):
        return False
    for key, value in found.items():
        if not (_KEY.fullmatch(key) and isinstance(value, str) and _TEXT.fullmatch(value)):
            return False
    return sum(len(key) + len(value.encode()) for key, value in found.items()) <= MOST_METADATA
