"""Starts the server."""

import argparse
import asyncio
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn

from cli.stack.object_store import access
from cli.stack.object_store.api import ObjectStoreApi
from cli.stack.object_store.connection import CONNECTION_LIMIT, IDLE_SECONDS, HttpConnection
from cli.stack.object_store.emulator_import import import_objects
from cli.stack.object_store.store import Store

#: Threads that read and write files.
THREADS = 8


def main() -> int:
    """Serves until a signal ends the process; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cli.stack.object_store", description=__doc__)
    parser.add_argument("--listen", required=True, help="host:port")
    parser.add_argument("--name", help="host name by which others reach it; without it, the host of --listen")
    parser.add_argument("--data", required=True, type=Path, help="folder of all data")
    parser.add_argument(
        "--access",
        required=True,
        type=Path,
        help="file of tokens and permissions, written by cli.stack.object_store.access",
    )
    arguments = parser.parse_args()
    host, _, port = arguments.listen.rpartition(":")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    os.umask(0o077)
    known = access.read(arguments.access)
    store = Store(arguments.data)
    if count := import_objects(store, arguments.data, known.buckets):
        logging.getLogger(__name__).warning("imported %d objects of an older version", count)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="storage") as threads:
        api = ObjectStoreApi(store, known, listen=arguments.name or host, threads=threads)
        asyncio.run(_serve(api, host, int(port)))
    store.close()
    return 0


async def _serve(api: ObjectStoreApi, host: str, port: int) -> None:
    config = uvicorn.Config(
        api,
        host=host,
        port=port,
        interface="asgi3",
        http=HttpConnection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=CONNECTION_LIMIT,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=10,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    sys.exit(main())
