"""Which events an endpoint gets, and which ones later events make unnecessary."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.notifier.domain.endpoints import CLOCK_TOLERANCE, Endpoint, Kind, wants
from services.notifier.domain.events import CANCELED, COMPLETED, FAILED, JOB_EVENTS, SETTLED, JobEvent, supersedes

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
ENDPOINT = Endpoint(id=uuid4(), tenant="acme", url="https://example.com/", created_at=NOW, updated_at=NOW)
EVENT = JobEvent(job_id="job_1", tenant="acme", sequence=7, type=COMPLETED, occurred_at=NOW)


@pytest.mark.parametrize("later", [COMPLETED, FAILED, CANCELED])
@pytest.mark.parametrize("earlier", JOB_EVENTS)
def test_the_end_of_a_job_supersedes_whatever_was_before(later: str, earlier: str) -> None:
    assert supersedes(later, earlier)


@pytest.mark.parametrize("earlier", [COMPLETED, FAILED, CANCELED])
def test_a_settlement_supersedes_no_end(earlier: str) -> None:
    assert not supersedes(SETTLED, earlier)
    assert supersedes(SETTLED, SETTLED)


def test_an_endpoint_gets_all_events_of_its_tenant() -> None:
    assert wants(ENDPOINT, EVENT)
    assert not wants(ENDPOINT, replace(EVENT, tenant="other"))


def test_an_endpoint_gets_only_the_types_that_it_lists() -> None:
    listed = replace(ENDPOINT, event_types=(FAILED, SETTLED))
    assert not wants(listed, EVENT)
    assert wants(listed, replace(EVENT, type=SETTLED))


def test_an_endpoint_gets_no_event_that_surely_occurred_before_it_was_created() -> None:
    first = NOW - CLOCK_TOLERANCE
    assert wants(ENDPOINT, replace(EVENT, occurred_at=first))
    assert not wants(ENDPOINT, replace(EVENT, occurred_at=first - timedelta(microseconds=1)))


def test_an_origin_of_callback_urls_gets_only_what_names_it() -> None:
    assert not wants(replace(ENDPOINT, kind=Kind.CALLBACK), EVENT)
