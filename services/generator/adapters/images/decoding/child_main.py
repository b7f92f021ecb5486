"""Main program of a decoding process (`processes`): serves one request after the other, each under its own limits.

The process has nothing of the service: no environment, no connection, no credential. It ends with its parent process.
"""

import os
import queue
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from calotype.error_reasons import Reason
from PIL import Image, ImageOps

from services.generator.adapters.images.decoding import inspection, masks, orientation, pixels
from services.generator.adapters.images.decoding.wire import receive, send
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import StageError

#: Bytes of address space by which the process may have grown after a request; beyond that it ends and is replaced.
MAX_GROWTH = 32 * 1024 * 1024
_PAGE = os.sysconf("SC_PAGESIZE")
_NICE = 5
#: Limit in bytes on a request's body; the sender has bounded the image already.
_MAX_BODY = 2**31

#: Head and body of a response.
Response = tuple[dict[str, Any], bytes]


def main() -> None:
    """Serves requests until their pipe is closed."""
    # Ctrl-C at the terminal goes to the service, which lets images finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # No core dumps: crashes are expected, and the images in memory are private.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Decoding must not keep the service from renewing its leases in time.
    os.nice(_NICE)
    warnings.simplefilter("ignore")
    Image.init()
    requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    responses = sys.stdout.buffer
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    base = _address_space()
    send(responses, {"ready": True}, b"")
    while True:
        head, data = requests.get()
        _limit(base + int(head["memory"]), seconds=int(head["seconds"]))
        response, body = _respond(head, data)
        del data
        _limit(resource.RLIM_INFINITY, seconds=int(head["seconds"]))
        is_last = _address_space() > base + MAX_GROWTH
        send(responses, response | {"last": is_last}, body)
        if is_last:
            return


def _read(pipe: IO[bytes], requests: "queue.SimpleQueue[tuple[dict[str, Any], bytes]]") -> None:
    """Reads requests; ends this process at once when the pipe is closed, as the parent process is gone."""
    with suppress(EOFError):
        while True:
            requests.put(receive(pipe, limit=_MAX_BODY))
    os._exit(0)


def _address_space() -> int:
    """Returns the bytes of this process's address space; 0 on systems that neither report nor limit it."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * _PAGE
    except OSError:
        return 0


def _limit(memory: int, *, seconds: int) -> None:
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, resource.RLIM_INFINITY))


def _respond(head: dict[str, Any], data: bytes) -> Response:
    try:
        response, body = _TASKS[head["task"]](data, **head["arguments"])
        return (response, body) if len(body) <= int(head["limit"]) else ({"error": "WRITTEN"}, b"")
    except StageError as error:
        return {"error": error.reason}, b""
    except MemoryError:
        return {"error": "MEMORY"}, b""
    except Exception:  # noqa: BLE001 - encoders may raise anything, also for lack of memory
        return {"error": Reason.INVALID_IMAGE}, b""


def _inspect(data: bytes) -> Response:
    return {"inspection": inspection.inspected(data)}, b""


def _rewrite(data: bytes) -> Response:
    return {}, orientation.rewritten(data)


def _mask(data: bytes, form: str) -> Response:
    return {}, masks.converted(data, MaskForm(form))


def _fitted(data: bytes, width: int, height: int) -> Response:
    """Returns the image cropped and scaled to a size, as raw RGB pixels of three bytes each."""
    with pixels.decoded(data) as image:
        return {}, ImageOps.fit(image.convert("RGB"), (width, height)).tobytes()


def _fitted_mask(data: bytes, width: int, height: int) -> Response:
    """Returns the mask cropped and scaled to a size, as raw pixels of one byte each."""
    return {}, ImageOps.fit(masks.edited(data), (width, height)).tobytes()


_TASKS: dict[str, Callable[..., Response]] = {
    "inspect": _inspect,
    "rewrite": _rewrite,
    "mask": _mask,
    "fitted": _fitted,
    "fitted_mask": _fitted_mask,
}
