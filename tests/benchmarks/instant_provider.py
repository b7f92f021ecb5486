"""A provider that answers at once, over HTTP, with a picture of 64 kB: what is measured is what is around it.

    python -m tests.benchmarks.instant_provider [SIDE]

Prints its port, and ends with its standard input. It has the API of kind `openai`.
"""

import asyncio
import base64
import io
import json
import random
import sys

from PIL import Image

#: Side in pixels of the picture, whose noise does not compress: 64 kB as PNG.
SIDE = 146


def picture(side: int) -> bytes:
    """A PNG of about `3 * side * side` bytes."""
    pixels = random.Random(1).randbytes(side * side * 3)
    written = io.BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(written, "png")
    return written.getvalue()


async def serve(side: int) -> None:
    """Answers every request with one picture, until standard input ends."""
    body = json.dumps({"created": 1, "data": [{"b64_json": base64.b64encode(picture(side)).decode()}]}).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
                await reader.readexactly(int(length.partition(b": ")[2]))
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]) if sys.argv[1:] else SIDE))
