"""The catalogue is what generators say, and it has one default."""

from dataclasses import replace

import pytest

from services.job.domain.failures import Refusal
from tests.support.jobs import FREE, PAID, JobDesk


def test_a_job_that_names_no_provider_goes_to_the_default(desk: JobDesk) -> None:
    assert desk.create().job.provider == "procedural"


def test_a_new_provider_file_takes_the_default_with_it(desk: JobDesk) -> None:
    desk.register(replace(PAID, is_default=True))

    assert desk.create().job.provider == "paid"


def test_a_generator_without_a_default_leaves_it_where_it_was(desk: JobDesk) -> None:
    desk.register(replace(PAID, name="another"))

    assert desk.create().job.provider == "procedural"


def test_an_empty_catalogue_asks_to_come_again(desk: JobDesk) -> None:
    desk.sql("DELETE FROM providers")

    with pytest.raises(Refusal) as refusal:
        desk.create()
    assert (refusal.value.reason, refusal.value.retry_after_seconds) == ("SERVICE_UNAVAILABLE", 2)


def test_what_is_registered_again_is_replaced(desk: JobDesk) -> None:
    desk.register(replace(FREE, default_model="v2"))

    assert desk.create().job.model == "v2"
