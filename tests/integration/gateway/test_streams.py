"""Server-sent events over real HTTP, from a job-service over real gRPC."""

import asyncio
import socket

import grpc
import httpx
import pytest
from calotype.job.v1 import job_pb2, job_service_pb2

from gateway.dependencies import Dependencies
from gateway.streams.follow import StreamTimeouts
from tests.support.gateway.event_source import events, next_job
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.job_service.fake_job_service import FakeJobService, failure, refusal, serving
from tests.support.patience import PATIENCE, pause


async def test_a_stream_is_a_snapshot_then_every_change_until_the_final_one(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
        stream = events(answer)
        assert (await anext(stream)).fields == {"retry": "2000"}
        first = await next_job(stream)
        assert (first.fields["id"], first.data["status"]) == ("1", "queued")
        service.move(job.id, status=job_pb2.STATUS_PROCESSING)
        service.move(job.id, status=job_pb2.STATUS_GENERATING)
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        rest = [event async for event in stream if event.name == "job"]
    assert [(event.fields["id"], event.data["status"]) for event in rest] == [
        ("2", "processing"),
        ("3", "generating"),
        ("4", "completed"),
    ]
    # Changes come without the request; clients get jobs of one shape all the same.
    assert all(event.data["request"]["prompt"] == "a harbour" for event in [first, *rest])
    assert rest[-1].data["display"]["key"] == "completed_partly"


@pytest.mark.parametrize("by", ["header", "query", "both"])
async def test_a_stream_is_resumed_after_the_last_id(
    client: httpx.AsyncClient, service: FakeJobService, by: str
) -> None:
    job = service.add()
    for status in (job_pb2.STATUS_PROCESSING, job_pb2.STATUS_GENERATING, job_pb2.STATUS_COMPLETED):
        service.move(job.id, status=status)
    headers = {} if by == "query" else {"Last-Event-ID": "2"}
    query = {"query": "?after=2", "both": "?after=0", "header": ""}[by]
    async with client.stream("GET", f"/v1/jobs/{job.id}/events{query}", headers=headers) as answer:
        ids = [event.fields["id"] async for event in events(answer) if event.name == "job"]
    assert ids == ["3", "4"]


@pytest.mark.parametrize("last", ["4", "5", "999999999999"])
async def test_at_or_past_the_final_state_there_is_nothing(
    client: httpx.AsyncClient, service: FakeJobService, last: str
) -> None:
    job = service.add(status=job_pb2.STATUS_FAILED, failure=failure(), sequence=4)
    answer = await client.get(f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": last})
    assert (answer.status_code, answer.content) == (204, b"")
    assert not [one for one in service.requests if isinstance(one, job_service_pb2.WatchJobRequest)]


async def test_after_a_retry_there_is_something_again(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_FAILED, failure=failure(), sequence=4)
    service.move(job.id, status=job_pb2.STATUS_QUEUED)
    async with client.stream("GET", f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": "4"}) as answer:
        assert (await next_job(events(answer))).data["status"] == "queued"


@pytest.mark.parametrize("last", ["7", "9" * 18, "nonsense", "", "-3", "9" * 40])
async def test_an_id_that_cannot_be_gets_a_snapshot(
    client: httpx.AsyncClient, service: FakeJobService, last: str
) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": last}) as answer:
        assert (await next_job(events(answer))).fields["id"] == "1"


async def test_a_final_job_is_one_snapshot(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_COMPLETED)
    answer = await client.get(f"/v1/jobs/{job.id}/events")
    assert answer.text.count("event: job") == 1


@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=", "after=1.5"])
async def test_a_bad_position_is_named(client: httpx.AsyncClient, service: FakeJobService, query: str) -> None:
    job = service.add()
    answer = await client.get(f"/v1/jobs/{job.id}/events?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")


async def test_heartbeats_are_comments(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        beat = await anext(event async for event in events(answer) if event.comment)
    assert (beat.comment, beat.fields) == ("still here", {})


async def test_progress_has_no_id_and_is_thinned(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add(status=job_pb2.STATUS_GENERATING)
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        stream = events(answer)
        await next_job(stream)
        for percent in range(10, 100):
            service.progress(job.id, percent)
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        told = [event async for event in stream if event.name]
    assert [event.name for event in told] == ["progress", "job"]
    assert "id" not in told[0].fields
    assert told[0].data == {"percent": 45.0, "step": 10, "steps": 100, "message": None}


async def test_a_client_that_goes_away_ends_the_stream_of_job_service(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies
) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        await next_job(events(answer))
        assert (service.watching, parts.streams.open) == (1, 1)
    await asyncio.wait_for(service.until(lambda now: now.watching == 0), timeout=PATIENCE)
    assert parts.streams.open == 0


async def test_a_broken_stream_of_job_service_goes_on_at_the_last_change(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        stream = events(answer)
        await next_job(stream)
        service.refusals["WatchJob"] = [refusal(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")] * 2
        service.break_streams(job.id)
        service.move(job.id, status=job_pb2.STATUS_PROCESSING)
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        rest = [event.fields["id"] async for event in stream if event.name == "job"]
    assert rest == ["2", "3"]


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_stream_outlasts_an_outage_of_job_service(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies, status: grpc.StatusCode
) -> None:
    job = service.add()
    away = [refusal(status, status.name)] * 1_000
    service.refusals["WatchJob"] = away
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        stream = events(answer)
        # Longer than anything else is waited for, and the client hears that it is not forgotten.
        over = asyncio.get_running_loop().time() + 3 * parts.timeouts.cancel_outcome
        beats = 0
        while asyncio.get_running_loop().time() < over or beats <= 3:
            beats += (await anext(stream)).comment is not None
        away.clear()
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        ids = [event.fields["id"] async for event in stream if event.name == "job"]
    assert ids == ["2"]


async def test_a_deleted_job_ends_its_stream(client: httpx.AsyncClient, service: FakeJobService) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        stream = events(answer)
        await next_job(stream)
        del service.history[job.id]
        service.break_streams(job.id)
        assert [event async for event in stream if event.name] == []


async def test_a_canceled_job_is_followed_until_the_provider_was_heard(service: FakeJobService) -> None:
    job = service.add()
    async with (
        serving(service) as address,
        assembled(address, timeouts=StreamTimeouts(reopen=0.01, cancel_outcome=PATIENCE)) as (app, parts),
        over_http(app, parts) as client,
        client.stream("GET", f"/v1/jobs/{job.id}/events") as answer,
    ):
        stream = events(answer)
        await next_job(stream)
        service.move(job.id, status=job_pb2.STATUS_CANCELED, provider_cancel=job_pb2.PROVIDER_CANCEL_PENDING)
        assert (await next_job(stream)).data["provider_cancel"] == "pending"
        service.move(job.id, provider_cancel=job_pb2.PROVIDER_CANCEL_CONFIRMED)
        rest = [event.data["provider_cancel"] async for event in stream if event.name == "job"]
    assert rest == ["confirmed"]


async def test_a_provider_that_is_never_heard_does_not_hold_the_stream(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add(status=job_pb2.STATUS_CANCELED, provider_cancel=job_pb2.PROVIDER_CANCEL_PENDING)
    answer = await client.get(f"/v1/jobs/{job.id}/events")
    assert answer.text.count("event: job") == 1


async def test_a_draining_gateway_ends_its_streams_with_a_comment(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies
) -> None:
    job = service.add()
    async with client.stream("GET", f"/v1/jobs/{job.id}/events") as answer:
        stream = events(answer)
        await next_job(stream)
        parts.draining.set()
        comments = [event.comment async for event in stream]
    assert comments[-1] == "the gateway is restarting; reconnect"


async def test_no_more_streams_than_the_process_can_bear(
    client: httpx.AsyncClient, service: FakeJobService, parts: Dependencies
) -> None:
    job = service.add()
    parts.streams.open = 4
    answer = await client.get(f"/v1/jobs/{job.id}/events")
    parts.streams.open = 0
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


async def test_a_reader_that_takes_nothing_is_let_go_and_misses_nothing_when_it_returns(
    service: FakeJobService,
) -> None:
    job, changes = service.add(request=job_pb2.JobRequest(prompt="a harbour" * 3_000)), 500
    loop = asyncio.get_running_loop()
    async with serving(service) as address:
        async with (
            assembled(address, timeouts=StreamTimeouts(send=0.3)) as (app, parts),
            over_http(app, parts) as client,
        ):
            with socket.socket() as reader:
                reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                reader.setblocking(False)
                await loop.sock_connect(reader, (client.base_url.host, client.base_url.port))
                await loop.sock_sendall(
                    reader, f"GET /v1/jobs/{job.id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                )
                await asyncio.wait_for(service.until(lambda now: now.watching == 1), timeout=PATIENCE)
                # More than every buffer on the way can hold.
                for _ in range(changes):
                    service.move(job.id, status=job_pb2.STATUS_GENERATING)
                await asyncio.wait_for(service.until(lambda now: now.watching == 0), timeout=PATIENCE)
                async with asyncio.timeout(PATIENCE):
                    while parts.streams.open:
                        await pause()
        service.move(job.id, status=job_pb2.STATUS_COMPLETED)
        # Somebody who is slow for once only because the machine is busy is not let go.
        async with (
            assembled(address) as (app, parts),
            over_http(app, parts) as client,
            client.stream("GET", f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": "1"}) as answer,
        ):
            ids = [event.fields["id"] async for event in events(answer) if event.name == "job"]
    assert ids == [str(sequence) for sequence in range(2, changes + 3)]


async def test_a_stream_of_no_job_is_not_there(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/jobs/job_1/events")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_defect_of_job_service_in_mid_stream_breaks_it_off(
    client: httpx.AsyncClient, service: FakeJobService
) -> None:
    job = service.add()
    service.refusals["WatchJob"] = [refusal(grpc.StatusCode.INTERNAL, "INTERNAL")]
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get(f"/v1/jobs/{job.id}/events")
