"""Object storage that keeps the real one's rules."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Server
from tests.support.storage_proxy import StorageProxy, storage_proxy


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store behind one door per identity, with buckets of the test's own."""
    with storage_proxy(storage.url) as running:
        yield running
