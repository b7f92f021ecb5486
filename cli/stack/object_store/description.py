"""The description of an object, which a client sends with the bytes or for a copy."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.stack.object_store.http import ApiError

#: Largest size of an object's metadata in bytes, as in Google Cloud Storage.
METADATA_BYTES = 8 * 1024
#: Fields that hold digests, by kind of digest.
DIGESTS = {"crc32c": "crc32c", "md5": "md5Hash"}
# Values that are sent as headers of responses.
_VALUE = re.compile(r"[\x20-\x7e]{0,256}")
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a client says about an object; fields that it leaves out are empty."""

    #: Name in the bucket.
    name: str = ""
    #: Header `Content-Type` of responses.
    content_type: str = ""
    #: Header `Cache-Control` of responses.
    cache_control: str = ""
    #: Metadata of the client's choice.
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: Digests that the bytes must have, by kind, in base64.
    digests: Mapping[str, str] = field(default_factory=dict)


def parse_description(fields: Mapping[str, Any]) -> Description:
    """Parses a description from the API's JSON. Raises `ApiError`."""
    name, metadata = fields.get("name") or "", fields.get("metadata") or {}
    values = {key: fields.get(key) or "" for key in ("contentType", "cacheControl", *DIGESTS.values())}
    if not isinstance(name, str) or not all(
        isinstance(value, str) and _VALUE.fullmatch(value) for value in values.values()
    ):
        raise ApiError(400, "The description of the object is not valid.")
    if not _is_metadata(metadata):
        raise ApiError(400, f"The metadata is not valid, or has more than {METADATA_BYTES} bytes.")
    return Description(
        name=name,
        content_type=values["contentType"],
        cache_control=values["cacheControl"],
        metadata=metadata,
        digests={kind: values[key] for kind, key in DIGESTS.items() if values[key]},
    )


def _is_metadata(candidate: object) -> bool:
    if not isinstance(candidate, dict):
        return False
    for key, value in candidate.items():
        if not (_KEY.fullmatch(key) and isinstance(value, str) and _TEXT.fullmatch(value)):
            return False
    return sum(len(key) + len(value.encode()) for key, value in candidate.items()) <= METADATA_BYTES
