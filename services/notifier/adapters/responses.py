"""What a receiver returned, bounded and cleaned, and what it means for the attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpcore

from common.network import retry_after
from services.notifier.adapters.failures import AttemptFailed
from services.notifier.adapters.forward_proxy import CREDENTIALS_REQUIRED
from services.notifier.adapters.text import one_line
from services.notifier.adapters.watched_connection import EnoughReceived, Progress
from services.notifier.domain.attempts import MAX_RESPONSE, AttemptError, AttemptOutcome

#: Bytes of a body that are read; the connection is closed then.
MAX_BODY = 16 * 1024
#: Characters of a header's value that are read, and of a redirect's target that are shown.
_MAX_VALUE, _MAX_LOCATION = 2_048, 200


@dataclass(kw_only=True)
class Received:
    """What an attempt has received so far."""

    #: HTTP status; None before the headers arrived.
    status: int | None = None
    #: Headers by name in lower case, the first value of each.
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Beginning of the body.
    body: bytearray = field(default_factory=bytearray)

    async def read(self, response: httpcore.Response, progress: Progress) -> None:
        """Reads a response until its body ends, or `MAX_BODY` bytes of it arrived."""
        self.status = response.status
        self.headers = _by_name(response.headers)
        try:
            # The loop is not left early: the generators of httpcore would stay open.
            async for part in response.aiter_stream():
                self.body += part[: MAX_BODY - len(self.body)]
                progress.is_enough = len(self.body) >= MAX_BODY
        except EnoughReceived:
            # Perhaps much was sent around the body, such as extensions of chunks: nothing more is read then, either.
            return


def outcome(
    received: Received, failure: AttemptFailed | None, *, duration_ms: int, is_private: bool, is_proxied: bool
) -> AttemptOutcome:
    """Returns the outcome of an attempt. `failure` is None when the response was read as far as it is wanted.

    `is_private`: the receiver's address is not public, so that nothing of its response is recorded.
    """
    failure = _by_status(received, is_proxied=is_proxied) or failure
    return AttemptOutcome(
        duration_ms=duration_ms,
        status=received.status,
        error=failure.error if failure else None,
        message=failure.message if failure else "",
        response="" if is_private else one_line(received.body.decode("utf-8", "replace"), MAX_RESPONSE),
        retry_after=retry_after.seconds(received.headers),
    )


def _by_status(received: Received, *, is_proxied: bool) -> AttemptFailed | None:
    """Returns the failure that a status stands for; None for 2xx, and without a response."""
    status = received.status
    if status is None or 200 <= status < 300:
        return None
    if 300 <= status < 400:
        message = f"The receiver returned a redirect (status {status}), which is not followed"
        if target := _printable_target(received.headers.get("location", "")):
            message += f", to {target}"
        return AttemptFailed(AttemptError.REDIRECT_REFUSED, f"{message}.")
    if is_proxied and status == CREDENTIALS_REQUIRED and "proxy-authenticate" in received.headers:
        return AttemptFailed(AttemptError.PROXY, f"The forward proxy returned status {status}.")
    return AttemptFailed(AttemptError.STATUS, f"The receiver returned status {status}.")


def _printable_target(location: str) -> str:
    """Returns a redirect's target without query and fragment, which may hold credentials."""
    return one_line(location.partition("?")[0].partition("#")[0], _MAX_LOCATION)


def _by_name(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value[:_MAX_VALUE].decode("utf-8", "replace")
        for name, value in reversed(headers)
    }
