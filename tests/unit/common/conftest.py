"""Collectors of telemetry that fail."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.servers.failing_collector import failing_collector


@pytest.fixture
def slow() -> Iterator[str]:
    """The URL of a collector that answers nothing."""
    with failing_collector("silent") as found:
        yield found.url


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URL of a collector that answers errors."""
    with failing_collector("errors") as found:
        yield found.url


@pytest.fixture
def away() -> Iterator[str]:
    """A URL at which nobody listens, and nobody else may."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"
