"""job-service's use cases on a real database."""

from collections.abc import Iterator

import pytest

from tests.support.jobs import JobDesk, desk_at


@pytest.fixture
def desk(database_url: str) -> Iterator[JobDesk]:
    """A desk with the providers `procedural` (free, default) and `paid`."""
    with desk_at(database_url) as desk:
        yield desk
