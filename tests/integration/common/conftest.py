"""Object storage that keeps the real one's rules, with two buckets of the test's own."""

import itertools
from collections.abc import Iterator

import pytest

from cli.stack.storage import make_bucket
from tests.support.servers import Server
from tests.support.storage_proxy import StorageProxy, storage_proxy

_NUMBERS = itertools.count(1)


@pytest.fixture
def proxy(storage: Server) -> Iterator[StorageProxy]:
    """The store behind one door per identity."""
    number = next(_NUMBERS)
    public, staging = f"common-public-{number}", f"common-staging-{number}"
    make_bucket(storage.url, public)
    make_bucket(storage.url, staging)
    with storage_proxy(storage.url, public=public, staging=staging) as running:
        yield running
