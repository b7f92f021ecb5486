"""Types of the stack commands' options."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cli.stack.services import SERVICES

MAX_REPLICAS = 8
#: Host by which this machine reaches a server that listens at every address.
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}  # noqa: S104 - compared, not listened on


class Address(click.ParamType[tuple[str, int]]):
    """`HOST:PORT`; port 0 is any free port."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Parses host and port."""
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
            self.fail(f"{value!r} is not HOST:PORT, e.g. 127.0.0.1:8080.", param, ctx)
        return host, int(port)


class Replicas(click.ParamType[dict[str, int]]):
    """`service=count,...`, or one count for every service, as counts by service."""

    name = "N|SERVICE=N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, int]:
        """Parses counts by service."""
        if isinstance(value, dict):
            return value
        allowed = [service.name for service in SERVICES]
        if value and "=" not in str(value):
            return {name: self._count(name, str(value), param, ctx) for name in allowed}
        replicas = {}
        for part in filter(None, str(value).split(",")):
            name, _, count = part.partition("=")
            if name not in allowed:
                self.fail(f"{name!r} cannot have replicas; these can: {', '.join(allowed)}.", param, ctx)
            replicas[name] = self._count(name, count, param, ctx)
        return replicas

    def _count(self, name: str, count: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= MAX_REPLICAS:
            self.fail(f"{count!r} is no number of processes of {name}: 1 to {MAX_REPLICAS}.", param, ctx)
        return int(count)


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the option `--data`, the folder of a stack as an absolute path."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
        default=".calotype",
        show_default=True,
        help="Folder of the stack's data.",
    )(command)


def url_of(host: str, port: int) -> str:
    """The URL by which this machine reaches a listening address."""
    return f"http://{_EVERYWHERE.get(host, host)}:{port}"
