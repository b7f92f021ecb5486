"""Resolves host names on threads of its own, so that a name server that hangs delays no other name.

The event loop's own resolution runs on a few threads (two with uvloop). Every tenant can name hosts whose name server
never responds: a few such names would stop all resolution of the process, and its exit too, as threads of a pool are
waited for.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

#: Resolves host and port to IP addresses.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
#: Lookups of a process at the same time; each is a thread.
MAX_LOOKUPS = 256

_lock = threading.Lock()
#: Lookups under way: a second question about the same host waits for the same lookup.
_lookups: dict[tuple[str, int], Future[Sequence[str]]] = {}


async def resolve(host: str, port: int) -> Sequence[str]:
    """Returns all addresses of a host. Raises `OSError`, and `ValueError` for an impossible name.

    Canceling the call does not end the lookup; at most one lookup per host is under way.
    """
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[Sequence[str]] = loop.create_future()

    def ended(lookup: Future[Sequence[str]]) -> None:
        # The loop may have been closed meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_pass_on, lookup, waiter)

    _lookup(host, port).add_done_callback(ended)
    return await waiter


def _pass_on(lookup: Future[Sequence[str]], waiter: "asyncio.Future[Sequence[str]]") -> None:
    if waiter.done():
        return
    error = lookup.exception()
    if error is None:
        waiter.set_result(lookup.result())
    else:
        waiter.set_exception(error)


def _lookup(host: str, port: int) -> Future[Sequence[str]]:
    """Returns the lookup of a host that is under way, or begins one. Raises `OSError` when there are too many."""
    key = (host, port)
    with _lock:
        if key in _lookups:
            return _lookups[key]
        if len(_lookups) >= MAX_LOOKUPS:
            raise socket.gaierror(socket.EAI_AGAIN, "too many lookups are under way")
        lookup: Future[Sequence[str]] = Future()
        try:
            threading.Thread(target=_run, args=(key, lookup), name="resolver", daemon=True).start()
        except RuntimeError as error:
            raise socket.gaierror(socket.EAI_AGAIN, "no thread can be started") from error
        _lookups[key] = lookup
        return lookup


def _run(key: tuple[str, int], lookup: Future[Sequence[str]]) -> None:
    try:
        addresses = [str(entry[4][0]) for entry in socket.getaddrinfo(*key, type=socket.SOCK_STREAM)]
    except Exception as error:  # noqa: BLE001 - raised where the lookup is awaited
        _forget(key)
        lookup.set_exception(error)
    else:
        _forget(key)
        lookup.set_result(addresses)


def _forget(key: tuple[str, int]) -> None:
    with _lock:
        del _lookups[key]
