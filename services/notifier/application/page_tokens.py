"""Page tokens of lists, authenticated so that only tokens of this service are read."""

import base64
import binascii
import hashlib
import hmac
import json

from services.notifier.domain.refusals import Refusal, Violation, invalid

_MAC_BYTES = hashlib.sha256().digest_size


class PageTokens:
    """Tokens of one list: a position with an HMAC-SHA256 over it and over the list's filters (`of`)."""

    def __init__(self, key: bytes, *, of: str) -> None:
        self._key = key
        self._of = of

    def seal(self, *position: str) -> str:
        """Returns the token of a position."""
        body = json.dumps(position).encode()
        return base64.urlsafe_b64encode(self._mac(body) + body).decode().rstrip("=")

    def open(self, token: str) -> list[str]:
        """Returns the position in a token. Raises `Refusal` INVALID_INPUT for a token of another list."""
        try:
            sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _not_of_this_list() from error
        mac, body = sealed[:_MAC_BYTES], sealed[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _not_of_this_list()
        position: list[str] = json.loads(body)
        return position

    def _mac(self, body: bytes) -> bytes:
        of = self._of.encode()
        return hmac.digest(self._key, len(of).to_bytes(8, "big") + of + body, "sha256")


def _not_of_this_list() -> Refusal:
    message = "Not a token of this list with these filters, or of an older version; start again without it."
    return invalid(Violation(field="page_token", message=message))
