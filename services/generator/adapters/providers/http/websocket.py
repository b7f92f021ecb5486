"""Reads the messages of a websocket of a provider, with bounds for everything that comes from outside."""

import json
import logging
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from common.logs import event

_LOG = logging.getLogger(__name__)
OPEN_SECONDS, CLOSE_SECONDS = 10.0, 1.0
#: Such sockets also carry previews; a larger message ends the connection.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: Frames that wait to be read; with more, the other side must wait.
MAX_WAITING_FRAMES = 2
# The library logs every header that it sends, and the key is one of them.
_SILENT = logging.getLogger(f"{__name__}.wire")
_SILENT.disabled = True


class _Connection(connect):
    """Follows no redirect, because the key must reach no other host."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Returns the redirect as an error."""
        return exc


async def messages(url: str, *, headers: Mapping[str, str], tls: ssl.SSLContext) -> AsyncGenerator[Any, None]:
    """Yields the text messages as JSON, None for one that is not JSON. Ends with the connection, also if none opens.

    `url` begins with http or https.
    """
    address = httpx.URL(url)
    secure = address.scheme == "https"
    try:
        async with _Connection(
            str(address.copy_with(scheme="wss" if secure else "ws")),
            ssl=tls if secure else None,
            # A name and password in the address are sent in place of the key, as with HTTP.
            additional_headers={} if address.userinfo else headers,
            user_agent_header="calotype",
            compression=None,
            proxy=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            # Pings keep proxies from closing; a server that loads a model may be slow to return them.
            ping_timeout=None,
            max_size=MAX_MESSAGE_BYTES,
            max_queue=MAX_WAITING_FRAMES,
            logger=_SILENT,
        ) as socket:
            async for message in socket:
                if isinstance(message, str):
                    yield _parsed(message)
    except (OSError, ValueError, WebSocketException) as error:
        # Only the type: the error's text may come from the other side.
        event(_LOG, logging.INFO, "websocket.lost", host=address.host, reason=type(error).__name__)


def _parsed(message: str) -> Any:
    """Returns a message's JSON; None if it is none, or is nested too deeply."""
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None
