"""Collectors of telemetry that fail, and what keeps measured moments free of the test process's own work."""

import gc
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


@pytest.fixture
def no_collection() -> Iterator[None]:
    """No garbage collection: with thousands of tests in the process, one takes over a second in whatever runs then."""
    gc.disable()
    yield
    gc.enable()
