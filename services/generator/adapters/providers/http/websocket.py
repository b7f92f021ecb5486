"""What adapters that listen share: the messages of a websocket, bounded like everything that comes from outside."""

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
#: Pictures come over such sockets as well; one that is larger ends the connection.
MOST_MESSAGE = 4 * 1024 * 1024
#: Frames that wait to be read; after these the other side has to wait.
MOST_WAITING = 2
# The library writes down every header it sends, and the key is one of them.
_SILENT = logging.getLogger(f"{__name__}.wire")
_SILENT.disabled = True


class _Connection(connect):
    """Goes where it was told to go: the key is for nobody else."""

    def process_redirect(self, exc: Exception) -> Exception:
        """A redirect is a refusal."""
        return exc


async def messages(url: str, *, headers: Mapping[str, str], tls: ssl.SSLContext) -> AsyncGenerator[Any, None]:
    """The messages that are JSON; others are left out. Ends when the connection does, or when there is none.

    `url` is of http or https.
    """
    address = httpx.URL(url)
    secure = address.scheme == "https"
    try:
        async with _Connection(
            str(address.copy_with(scheme="wss" if secure else "ws")),
            ssl=tls if secure else None,
            # A name and password in the address go in the place of the key, as with HTTP.
            additional_headers={} if address.userinfo else headers,
            user_agent_header="calotype",
            compression=None,
            proxy=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            # A ping keeps proxies from hanging up; a server that loads a model may be slow to answer one.
            ping_timeout=None,
            max_size=MOST_MESSAGE,
            max_queue=MOST_WAITING,
            logger=_SILENT,
        ) as socket:
            async for message in socket:
                if isinstance(message, str):
                    yield _parsed(message)
    except (OSError, ValueError, WebSocketException) as error:
        # Its words may be the other side's.
        event(_LOG, logging.INFO, "websocket.lost", host=address.host, error=type(error).__name__)


def _parsed(message: str) -> Any:
    """A message as JSON; None for what is none, or is nested without end."""
    try:
        return json.loads(message)
    except (ValueError, RecursionError):
        return None
