"""What the admin port tells, and that strangers cannot make it tell without end."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from common.admin_port import MetricsApp
from common.telemetry.metrics import PROCESS
from gateway.app import create_app
from gateway.dependencies import Dependencies
from gateway.job_service.concurrency_limit import SLOTS
from tests.support.gateway.gateway_app import assembled, in_process
from tests.support.gateway.metrics_scrape import scrape
from tests.support.job_service.fake_job_service import FakeJobService, serving
from tests.support.patience import PATIENCE

COUNT = "calotype_http_request_duration_seconds_count"
OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain"


@pytest.fixture
async def parts(service: FakeJobService) -> AsyncIterator[Dependencies]:
    """A gateway's parts."""
    async with serving(service) as address, assembled(address) as (_, made):
        yield made


@pytest.fixture
async def admin(parts: Dependencies) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the admin port."""
    PROCESS.add_process()
    transport = httpx.ASGITransport(MetricsApp(parts.metrics.instruments, PROCESS))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9464") as opened:
        yield opened


@pytest.fixture
async def client(parts: Dependencies) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the gateway of these parts."""
    async with in_process(create_app(parts)) as opened:
        yield opened


async def test_a_request_is_counted_by_the_template_of_its_path(
    client: httpx.AsyncClient, admin: httpx.AsyncClient, service: FakeJobService
) -> None:
    for _ in range(2):
        assert (await client.get(f"/v1/jobs/{service.add().id}")).status_code == 200
    assert (await client.get("/v1/jobs/job_1")).status_code == 404

    told = await scrape(admin)

    route = "/v1/jobs/{job_id}"
    assert told.value(COUNT, method="GET", route=route, status="200") == 2
    assert told.value(COUNT, method="GET", route=route, status="404") == 1
    assert (told.value(COUNT.replace("count", "sum"), method="GET", route=route, status="200") or 0) > 0


async def test_no_path_and_no_method_of_a_client_becomes_a_label(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    for number in range(20):
        await client.get(f"/odd/{number}")
        await client.request(f"BREW{number}", "/v1/jobs")
        await client.get(f"/v1/jobs/%0aforged{number}/attempts")

    assert (await scrape(admin)).labels(COUNT) == [
        {"method": "GET", "route": "unknown", "status": "404"},
        {"method": "other", "route": "/v1/jobs", "status": "405"},
        {"method": "GET", "route": "/v1/jobs/{job_id}/attempts", "status": "404"},
    ]


async def test_what_is_refused_before_a_route_is_found_is_counted_too(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await client.get("/v1/jobs", headers={"Host": "a b"})

    assert (await scrape(admin)).value(COUNT, method="GET", route="unknown", status="400") == 1


async def test_a_gauge_tells_what_is_held_when_it_is_asked(parts: Dependencies, admin: httpx.AsyncClient) -> None:
    names = ("calotype_event_streams", "calotype_request_body_bytes", "calotype_picture_bytes")
    before = await scrape(admin)
    parts.streams.open, parts.bodies.held, parts.images.held = 3, 4_096, 70_000
    after = await scrape(admin)

    assert [before.value(name) for name in names] == [0, 0, 0]
    assert [after.value(name) for name in names] == [3, 4_096, 70_000]


async def test_calls_to_job_service_are_under_way_or_wait(parts: Dependencies, admin: httpx.AsyncClient) -> None:
    done, admission = asyncio.Event(), parts.jobs.limiter

    async def call() -> None:
        async with admission.slot(60.0):
            await done.wait()

    calls = [asyncio.create_task(call()) for _ in range(SLOTS + 3)]
    async with asyncio.timeout(PATIENCE):
        while (admission.active, admission.waiting) != (SLOTS, 3):
            await asyncio.to_thread(lambda: None)
    crowded = await scrape(admin)
    done.set()
    await asyncio.gather(*calls)
    empty = await scrape(admin)

    name = "calotype_job_service_calls"
    assert [told.value(name, state="under_way") for told in (crowded, empty)] == [SLOTS, 0]
    assert [told.value(name, state="waiting") for told in (crowded, empty)] == [3, 0]


async def test_a_call_that_is_given_up_is_counted_no_longer(parts: Dependencies) -> None:
    admission = parts.jobs.limiter
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with admission.slot(60.0):
                raise TimeoutError

    assert (admission.active, admission.waiting) == (0, 0)


async def test_the_process_and_its_python_are_told_of(admin: httpx.AsyncClient) -> None:
    told = await scrape(admin)

    assert told.labels("python_info")
    assert told.labels("python_gc_collections_total")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/metrics/"), ("GET", "/healthz"), ("GET", "/v1/jobs"), ("POST", "/metrics")],
)
async def test_there_is_nothing_else_on_the_admin_port(admin: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await admin.request(method, path)).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "kind"),
    [
        ("*/*", PLAIN),
        (f"{OPENMETRICS};version=1.0.0,text/plain;version=0.0.4;q=0.5", OPENMETRICS),
        (f"{PLAIN};version=1.0.0;escaping=underscores", PLAIN),
        (f"{PLAIN};version=nonsense", PLAIN),
        (f"{OPENMETRICS};version=", OPENMETRICS),
        ("\xfc", PLAIN),
    ],
)
async def test_metrics_come_in_a_form_that_the_scraper_reads(
    admin: httpx.AsyncClient, accepted: str, kind: str
) -> None:
    answer = await admin.get("/metrics", headers={"Accept": accepted.encode("latin-1")})

    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert answer.text.endswith("# EOF\n") == (kind == OPENMETRICS)
