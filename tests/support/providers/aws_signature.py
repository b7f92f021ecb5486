"""Version 4 of AWS's signatures, as its reference describes them, so that a test can check one that was made.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote


def signature_of(
    *, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, secret: str, service: str
) -> str:
    """The signature that `Authorization` of these headers has to have: names are in small letters, the path as sent."""
    parameters = dict(part.split("=", 1) for part in headers["authorization"].partition(" ")[2].split(", "))
    _, day, region, _, _ = parameters["Credential"].split("/")
    signed = parameters["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            method,
            # The path is encoded once more than it was for the wire, by every service but S3.
            quote(path, safe="/~"),
            "&".join(sorted(query.split("&"))) if query else "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request", to_sign):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key.hex()
