"""Object storage that keeps the real one's rules."""

from collections.abc import Iterator

import pytest

from tests.support.proxies.storage_proxy import StorageProxy, storage_proxy
from tests.support.servers.embedded_servers import Server


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store behind one door per identity, with buckets of the test's own."""
    with storage_proxy(storage.url) as running:
        yield running
