"""The gateway as a process of its own, started as anybody would start it."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[2]
KEY = "a-key-of-the-tenant-default"
#: An address at which nobody listens.
NOWHERE = "127.0.0.1:1"


async def start(**settings: str) -> asyncio.subprocess.Process:
    """The process, with these settings and no others."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    environ |= {f"CALOTYPE_{name}": value for name, value in settings.items()}
    environ["PYTHONPATH"] = f"{ROOT}{os.pathsep}{ROOT / 'proto'}"
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", env=environ, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )


class GatewayProcess:
    """A gateway that runs.

    All that it writes is read at once: each request makes a line, and a process whose pipe is full stands still.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._lines: list[bytes] = []
        self._has_ended = False
        self._wrote = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def line(self, word: bytes) -> bytes:
        """The first line that holds a word, once it is written."""
        async with asyncio.timeout(PATIENCE), self._wrote:
            while not (found := [line for line in self._lines if word in line]):
                assert not self._has_ended, f"the process ended without {word!r}"
                await self._wrote.wait()
        return found[0]

    async def end(self) -> tuple[int, bytes]:
        """Its exit status, and all that it wrote, once it has ended."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait(), b"".join(self._lines)

    async def kill(self) -> None:
        """End it, unless it has ended."""
        if self.process.returncode is None:
            self.process.kill()
        await self.end()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while not self._has_ended:
            line = await self.process.stderr.readline()
            async with self._wrote:
                self._lines.append(line)
                self._has_ended = not line
                self._wrote.notify_all()


@asynccontextmanager
async def running(
    job_address: str, keys: Path, key: str | None = KEY, **settings: str
) -> AsyncIterator[tuple[GatewayProcess, httpx.AsyncClient]]:
    """A gateway with a keys file in the folder `keys`, and a client that shows one of them."""
    file = keys / "keys.yaml"
    if not file.exists():
        write_keys(keys, "1", KEY)
    wiring = {
        "HTTP_LISTEN": "127.0.0.1:0",
        "JOB_ADDRESS": job_address,
        "NOTIFIER_ADDRESS": NOWHERE,
        "API_KEYS_FILE": str(file),
    }
    gateway = GatewayProcess(await start(**wiring | {"LOG_FORMAT": "text"} | settings))
    shown = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        port = (await gateway.line(b"http.opened")).decode().rpartition("port=")[2].strip()
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url, headers=shown, timeout=PATIENCE, trust_env=False) as client:
            yield gateway, client
    finally:
        await gateway.kill()


def write_keys(folder: Path, name: str, *keys: str, text: str | None = None) -> None:
    """Swap the link `keys.yaml` to a new file, as Kubernetes does."""
    digests = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    (folder / name).write_text(text or f"tenants: [{{name: default, key_sha256: {digests}}}]")
    link = folder / "next"
    link.symlink_to(name)
    link.replace(folder / "keys.yaml")
