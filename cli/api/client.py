"""The REST API as commands use it: address, key, calls, refusals, and what happens when the gateway is away."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx
from calotype.job_status import FINAL_STATUSES
from click.core import ParameterSource

from cli.errors import CommandFailed, ExitCode
from cli.stack.state import require_state

#: Read timeout of an event stream; longer than its heartbeat, so that a silent stream is a broken stream.
STREAM_SECONDS = 40.0
#: Seconds that an API may be unreachable after its first response, and seconds between two tries.
OUTAGE_SECONDS = 60.0
RETRY_SECONDS = 1.0
#: Pages of a job's changes that are read, 100 each.
MAX_EVENT_PAGES = 10
#: Pages of one list that are read while they are empty.
MAX_EMPTY_PAGES = 20
#: Statuses of a gateway that restarts, and of a proxy whose gateway is away.
UNAVAILABLE_STATUSES = frozenset({502, 503, 504})


class Refused(CommandFailed):
    """The API refused a call; the message holds the problem's reason and text."""

    def __init__(self, message: str, *, reason: str, status: int) -> None:
        super().__init__(f"Refused: {message}", ExitCode.REFUSED)
        #: Reason code of the problem; empty when the response is no problem document.
        self.reason = reason
        #: HTTP status.
        self.status = status


class Unreachable(CommandFailed):
    """The API cannot be reached."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ExitCode.NOT_REACHABLE)


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Address of the API, and the key for it."""

    #: Base URL, without a slash at its end.
    url: str
    #: Sent as a bearer token; None sends none.
    api_key: str | None

    def open(self) -> "GatewayApi":
        """A client; to be used as a context."""
        return GatewayApi(self)


def connection_options(*, operator: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--url`, `--api-key` and `--data`, and passes them as `connection`.

    Without `--api-key` the key of the stack in `--data` is used: its operator key where `operator` is set.
    """

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option(
            "--url",
            envvar="CALOTYPE_URL",
            show_envvar=True,
            help="Address of the API. Default: that of the stack in --data.",
        )
        @click.option(
            "--api-key",
            envvar=["CALOTYPE_OPERATOR_KEY", "CALOTYPE_API_KEY"] if operator else "CALOTYPE_API_KEY",
            show_envvar=True,
            help=f"Key of {'an operator' if operator else 'a tenant'}. Default: that of the stack in --data.",
        )
        @click.option(
            "--data",
            type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
            default=".calotype",
            show_default=True,
            help="Folder of the stack to use when no --url is given.",
        )
        @wraps(command)
        def wrapped(*args: Any, url: str | None, api_key: str | None, data: Path, **kwargs: Any) -> Any:
            source = click.get_current_context().get_parameter_source("api_key")
            connection = _connection(
                url, api_key, data, operator=operator, exported=source is ParameterSource.ENVIRONMENT
            )
            return command(*args, connection=connection, **kwargs)

        return wrapped

    return decorated


def _connection(
    url: str | None, api_key: str | None, data: Path, *, operator: bool, exported: bool
) -> ConnectionOptions:
    if url:
        return ConnectionOptions(url=url.rstrip("/"), api_key=api_key)
    state = require_state(data, advice="start one with `calotype up`, or name a service with --url")
    # What `calotype up` says to export is a tenant's key: an operator's command still uses that of the stack.
    if exported and api_key == state.api_key:
        api_key = None
    return ConnectionOptions(url=state.http, api_key=api_key or (state.operator_key if operator else state.api_key))


class GatewayApi:
    """Calls of the REST API.

    Every method raises `Refused` with the problem's own text, and `Unreachable` when the API cannot be reached. An API
    that has responded before may restart: reads and the stream of a job wait up to `outage_seconds` for it.
    """

    def __init__(self, connection: ConnectionOptions, *, outage_seconds: float = OUTAGE_SECONDS) -> None:
        headers = {"Authorization": f"Bearer {connection.api_key}"} if connection.api_key else {}
        self._client = httpx.Client(base_url=connection.url, headers=headers, timeout=30.0, trust_env=False)
        self._outage_seconds = outage_seconds
        self._has_responded = False
        #: Base URL of the API.
        self.url = connection.url

    def __enter__(self) -> "GatewayApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, body: Mapping[str, Any], *, idempotency_key: str) -> dict[str, Any]:
        """Submits a job; returns it. A response that was lost is requested again, with the same key."""
        headers = {"Idempotency-Key": idempotency_key}
        return self.send_again("POST", "/v1/jobs", json=dict(body), headers=headers)

    def get(self, job_id: str) -> dict[str, Any]:
        """Returns a job as it is now."""
        return self.send_again("GET", f"/v1/jobs/{job_id}")

    def list(self, *, status: tuple[str, ...], page_size: int, page_token: str | None) -> dict[str, Any]:
        """Returns the next page of jobs that is not empty, newest first."""
        return self.first_page_with_jobs("/v1/jobs", {"status": list(status), "page_size": page_size}, page_token)

    def first_page_with_jobs(self, path: str, params: dict[str, Any], token: str | None) -> dict[str, Any]:
        """Returns the next page that is not empty; an empty one means only that the jobs of one call did not match.

        It is empty at the end of the list, and after `MAX_EMPTY_PAGES` pages.
        """
        for _ in range(MAX_EMPTY_PAGES):
            page = self.send("GET", path, params=params | ({"page_token": token} if token else {}))
            token = page["next_page_token"]
            if page["jobs"] or not token:
                break
        return page

    def act(self, job_id: str, action: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Calls an action of a job, `cancel` or `retry`; returns the job."""
        return self.send("POST", f"/v1/jobs/{job_id}/{action}", json=dict(body or {}))

    def delete(self, job_id: str) -> None:
        """Deletes a final job."""
        self.send("DELETE", f"/v1/jobs/{job_id}")

    def providers(self) -> dict[str, Any]:
        """Returns the catalogue."""
        return self.send("GET", "/v1/providers")

    def any_job(self, job_id: str) -> dict[str, Any]:
        """Returns all that operators see of a job of any tenant, with up to `MAX_EVENT_PAGES` pages of its changes."""
        path = f"/v1/admin/jobs/{quote(job_id, safe='')}"
        view = self.send("GET", path)
        for _ in range(MAX_EVENT_PAGES - 1):
            if not view["has_older_events"]:
                break
            older = self.send("GET", path, params={"events_before": view["events"][-1]["sequence"]})
            view |= {"events": view["events"] + older["events"], "has_older_events": older["has_older_events"]}
        return view

    def dead_letters(self, *, page_size: int, page_token: str, parked: bool) -> dict[str, Any]:
        """Returns a page of dead letters; with `parked`, of the messages that are still retried automatically."""
        params = {"page_size": page_size, "page_token": page_token, "parked": str(parked).lower()}
        return self.send("GET", "/v1/admin/dead", params=params)

    def replay(self, letter_id: str) -> None:
        """Publishes a dead letter again."""
        self.send("POST", f"/v1/admin/dead/{quote(letter_id, safe='')}/replay")

    def watch(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Follows a job until it is final, across restarts of the gateway; yields pairs of event and data.

        An event is `job` (the whole job) or `progress`.
        """
        last_event_id: str | None = None
        while True:
            try:
                for kind, data, event_id in self._events(job_id, last_event_id):
                    last_event_id = event_id or last_event_id
                    yield kind, data
                    if kind == "job" and data["status"] in FINAL_STATUSES:
                        return
            except httpx.TransportError:
                if not self._has_responded:
                    # Nothing was there: no restart is waited for.
                    raise Unreachable(f"{self.url} does not answer.") from None
            except Refused as refused:
                if refused.status not in UNAVAILABLE_STATUSES or not self._has_responded:
                    raise
            # The job goes on, and may have changed meanwhile.
            job = self.get(job_id)
            yield "job", job
            if job["status"] in FINAL_STATUSES:
                return
            time.sleep(RETRY_SECONDS)

    def download(self, url: str) -> bytes:
        """Returns the bytes of a public image; no key is sent."""
        try:
            response = httpx.get(url, timeout=60.0, trust_env=False)
        except httpx.TransportError as error:
            raise Unreachable(f"{url} cannot be downloaded now: {error}") from error
        if response.status_code != 200:
            raise CommandFailed(f"{url} cannot be downloaded: status {response.status_code}.")
        return response.content

    def _events(self, job_id: str, last: str | None) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        with self._client.stream(
            "GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=STREAM_SECONDS
        ) as response:
            if response.status_code not in (200, 204):
                response.read()
                raise _refused(response)
            self._has_responded = True
            fields: dict[str, str] = {}
            for line in response.iter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    yield fields.get("event", "message"), json.loads(fields["data"]), fields.get("id")
                    fields = {}

    def send_again(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Sends a request, and repeats it while an API that has responded before is unreachable."""
        deadline = time.monotonic() + self._outage_seconds
        while True:
            try:
                return self.send(method, path, **options)
            except (Unreachable, Refused) as error:
                is_outage = self._has_responded and (
                    isinstance(error, Unreachable) or error.status in UNAVAILABLE_STATUSES
                )
                if not is_outage or time.monotonic() >= deadline:
                    raise
            time.sleep(RETRY_SECONDS)

    def send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Sends a request; returns the JSON of the response, or an empty object for a response without a body."""
        try:
            response = self._client.request(method, path, **options)
        except httpx.UnsupportedProtocol as error:
            raise CommandFailed(
                f"{self.url} is not an address that begins with http:// or https://.", ExitCode.USAGE
            ) from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"{self.url} does not answer.") from error
        except httpx.TransportError as error:
            # A connection was made: the API was there.
            self._has_responded = True
            raise Unreachable(f"{self.url} does not answer.") from error
        if response.status_code >= 400:
            raise _refused(response)
        self._has_responded = True
        body: dict[str, Any] = response.json() if response.content else {}
        return body


def _refused(response: httpx.Response) -> Refused:
    """The error of a response, with the problem's text; with its fields, where it names fields."""
    reason = ""
    try:
        problem = response.json()
        fields = "; ".join(f"{error['field']}: {error['message']}" for error in problem.get("errors") or [])
        reason = str(problem["reason"])
        message = f"{reason}: {fields or problem['detail']}"
    except (ValueError, KeyError, TypeError):
        message = f"status {response.status_code}"
    return Refused(message, reason=reason, status=response.status_code)
