"""What runs in a child process of `decoding_processes`: one request after the other, each under limits of its own.

Nothing of the service is in this process: no environment, no connection, no credential. It ends with who started it.
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

from PIL import Image, ImageOps

from services.generator.adapters.images.decoding import inspection, masks, orientation, pixels
from services.generator.adapters.images.decoding.wire import receive, send
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import StageError

#: A process that has grown by more (bytes of address space) when a request is done ends, and another takes its place.
MOST_LEFT = 32 * 1024 * 1024
_PAGE = os.sysconf("SC_PAGESIZE")
_NICE = 5
#: Bytes of an encoded image, which whoever sends it has bounded.
_MOST = 2**31

Answer = tuple[dict[str, Any], bytes]


def main() -> None:
    """Answer requests until their pipe is closed."""
    # A Ctrl-C at the terminal is for the service, which lets images end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Crashes are expected: their images are other people's.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Whatever is decoded here, leases are renewed in time.
    os.nice(_NICE)
    warnings.simplefilter("ignore")
    Image.init()
    requests: queue.SimpleQueue[tuple[dict[str, Any], bytes]] = queue.SimpleQueue()
    answers = sys.stdout.buffer
    threading.Thread(target=_read, args=(sys.stdin.buffer, requests), daemon=True).start()
    base = _address_space()
    send(answers, {"ready": True}, b"")
    while True:
        head, data = requests.get()
        _limit(base + int(head["memory"]), seconds=int(head["seconds"]))
        answer, body = _answer(head, data)
        del data
        _limit(resource.RLIM_INFINITY, seconds=int(head["seconds"]))
        is_last = _address_space() > base + MOST_LEFT
        send(answers, answer | {"last": is_last}, body)
        if is_last:
            return


def _read(pipe: IO[bytes], requests: "queue.SimpleQueue[tuple[dict[str, Any], bytes]]") -> None:
    """Read requests; when whoever sends them is gone, so is this process, whatever it is at."""
    with suppress(EOFError):
        while True:
            requests.put(receive(pipe, most=_MOST))
    os._exit(0)


def _address_space() -> int:
    """Bytes of this process's address space; 0 where the system does not say, and does not limit it either."""
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


def _answer(head: dict[str, Any], data: bytes) -> Answer:
    try:
        answer, body = _TASKS[head["task"]](data, **head["arguments"])
        return (answer, body) if len(body) <= int(head["most"]) else ({"error": "WRITTEN"}, b"")
    except StageError as error:
        return {"error": error.reason}, b""
    except MemoryError:
        return {"error": "MEMORY"}, b""
    except Exception:  # noqa: BLE001 - encoders raise whatever a pixel brings them to, and memory that they lack
        return {"error": "INVALID_IMAGE"}, b""


def _inspect(data: bytes) -> Answer:
    return {"look": inspection.inspected(data)}, b""


def _rewrite(data: bytes) -> Answer:
    return {}, orientation.rewritten(data)


def _mask(data: bytes, form: str) -> Answer:
    return {}, masks.converted(data, MaskForm(form))


def _fitted(data: bytes, width: int, height: int) -> Answer:
    """Raw pixels, three bytes each, cut to the size."""
    with pixels.decoded(data) as image:
        return {}, ImageOps.fit(image.convert("RGB"), (width, height)).tobytes()


def _fitted_mask(data: bytes, width: int, height: int) -> Answer:
    """Raw pixels, one byte each."""
    return {}, ImageOps.fit(masks.edited(data), (width, height)).tobytes()


_TASKS: dict[str, Callable[..., Answer]] = {
    "inspect": _inspect,
    "rewrite": _rewrite,
    "mask": _mask,
    "fitted": _fitted,
    "fitted_mask": _fitted_mask,
}
