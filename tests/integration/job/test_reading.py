"""Lists stay right while jobs arrive, and tokens are good for their own filters alone."""

import pytest

from services.job.application import queries
from services.job.domain.jobs import QueuePosition
from services.job.domain.refusals import Refusal
from services.job.store.listing import Filters
from tests.support.job_service.use_cases import JobUseCases, failed


def page(desk: JobUseCases, *, size: int = 2, token: str = "", **filters: object) -> tuple[list[str], str]:
    """Ids of a page and the next token."""
    wanted = Filters(**({"tenant": "acme"} | filters))  # type: ignore[arg-type]
    seen, after = desk.run(lambda c: queries.list_jobs(c, wanted, page_size=size, page_token=token))
    return [one.job.id for one in seen], after


def test_pages_show_every_job_once_although_others_arrive(desk: JobUseCases) -> None:
    jobs = [desk.create().job.id for _ in range(5)]
    found, token = page(desk)
    while token:
        desk.create()
        more, token = page(desk, token=token)
        found += more

    assert found == jobs[::-1]


def test_a_token_is_refused_under_other_filters(desk: JobUseCases) -> None:
    for _ in range(3):
        desk.create()
    _, token = page(desk)

    with pytest.raises(Refusal) as refusal:
        page(desk, token=token, provider="paid")
    assert [violation.field for violation in refusal.value.violations] == ["page_token"]


@pytest.mark.parametrize("token", ["x", "e30", "W10", "!!", "WyIyMDI2IiwgImoiXQ", "é"])
def test_nonsense_is_no_token(desk: JobUseCases, token: str) -> None:
    with pytest.raises(Refusal, match="page_token"):
        page(desk, token=token)


def test_each_filter_holds(desk: JobUseCases) -> None:
    job, _ = desk.generate(provider="paid", metadata={"album": "7"}, end_user="eve")
    desk.apply(failed(job, retryable=False))
    desk.create(metadata={"album": "8"})
    desk.create(tenant="other", metadata={"album": "7"})

    for filters in (
        {"states": ("failed",)},
        {"provider": "paid"},
        {"failure_stage": "generating"},
        {"failure_code": "TEMPORARY"},
        {"end_user": "eve"},
        {"metadata": {"album": "7"}},
        {"created_before": job.updated_at, "states": ("failed",)},
    ):
        assert page(desk, **filters)[0] == [job.id], filters


def test_a_queued_job_tells_its_place(desk: JobUseCases) -> None:
    jobs = [desk.create().job.id for _ in range(3)]

    positions = [desk.get(job).queue_position for job in jobs]
    assert positions == [QueuePosition(position=position, is_exact=True) for position in (1, 2, 3)]
