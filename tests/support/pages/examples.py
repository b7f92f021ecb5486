"""The examples of a page, and processes that run them."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.patience import PATIENCE

ROOT = Path(__file__).parents[3]


def block(page: Path, name: str) -> str:
    """Returns the block of code that follows the comment `<!-- name -->`."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{page} has no block {name}"
    return found[1]


def written(page: Path, name: str, folder: Path) -> Path:
    """Returns a file with a block of a page, of that name in a folder."""
    file = folder / name
    file.write_text(block(page, name), encoding="utf-8")
    return file


class Example:
    """An example that runs as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        """Returns the next line that it prints; empty after the last one."""
        assert self._process.stdout
        return (await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)).decode().rstrip()

    async def end(self) -> tuple[int | None, str]:
        """Waits for its end; returns exit code and output."""
        output, _ = await asyncio.wait_for(self._process.communicate(), PATIENCE)
        return self._process.returncode, output.decode()


@asynccontextmanager
async def running(
    file: Path, environment: Mapping[str, str], *arguments: str, program: str = sys.executable
) -> AsyncIterator[Example]:
    """Runs a file until the end of the block; errors are in its output."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CALOTYPE_", "OTEL_"))}
    process = await asyncio.create_subprocess_exec(
        program,
        str(file),
        *arguments,
        env=inherited | {"PYTHONPATH": str(ROOT / "proto")} | dict(environment),
        cwd=file.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Example(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
