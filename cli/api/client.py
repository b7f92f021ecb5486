"""The REST API, as commands use it: one place for its address, its key and its refusals."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import httpx
from click.core import ParameterSource

from cli.errors import CommandFailed, ExitCode
from cli.stack.state import read_state

FINAL = ("completed", "failed", "canceled")
#: Longer than the heartbeat of an event stream, so that a silent stream is a dead one.
STREAM_SECONDS = 40.0


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Where the API is, and the key to it."""

    url: str
    api_key: str | None

    def open(self) -> "GatewayApi":
        """A client; to be used as a context."""
        return GatewayApi(self)


def connection_options(*, operator: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--url`, `--api-key` and `--data`, handed to the command as `connection`; a stack's own key is of that role."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--url", envvar="CALOTYPE_URL", help="Address of the API; else that of the stack in --data.")
        @click.option(
            "--api-key", envvar="CALOTYPE_API_KEY", help=f"Key of {'an operator' if operator else 'a tenant'}."
        )
        @click.option(
            "--data",
            type=click.Path(file_okay=False, resolve_path=True, path_type=Path),
            default=".calotype",
            show_default="./.calotype",
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
    state = read_state(data)
    if state is None:
        raise CommandFailed(
            f"No stack runs in {data}; start one with `calotype up`, or name a service with --url.",
            ExitCode.NOT_REACHABLE,
        )
    # What `calotype up` says to export is a tenant's key: an operator's command still has that of the stack.
    if exported and api_key == state.api_key:
        api_key = None
    return ConnectionOptions(url=state.http, api_key=api_key or (state.operator_key if operator else state.api_key))


class GatewayApi:
    """Calls of the REST API. Every method raises `CommandFailed` with the problem's own words."""

    def __init__(self, connection: ConnectionOptions) -> None:
        headers = {"Authorization": f"Bearer {connection.api_key}"} if connection.api_key else {}
        self._client = httpx.Client(base_url=connection.url, headers=headers, timeout=30.0, trust_env=False)
        self.url = connection.url

    def __enter__(self) -> "GatewayApi":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, body: Mapping[str, Any], *, idempotency_key: str) -> dict[str, Any]:
        """Submit a job."""
        return self._send("POST", "/v1/jobs", json=dict(body), headers={"Idempotency-Key": idempotency_key})

    def get(self, job_id: str) -> dict[str, Any]:
        """A job as it is now."""
        return self._send("GET", f"/v1/jobs/{job_id}")

    def list(self, *, status: tuple[str, ...], page_size: int, page_token: str | None) -> dict[str, Any]:
        """A page of jobs."""
        params: dict[str, Any] = {"status": list(status), "page_size": page_size}
        return self._send("GET", "/v1/jobs", params=params | ({"page_token": page_token} if page_token else {}))

    def act(self, job_id: str, action: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Cancel or retry a job."""
        return self._send("POST", f"/v1/jobs/{job_id}/{action}", json=dict(body or {}))

    def delete(self, job_id: str) -> None:
        """Delete a final job."""
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def providers(self) -> dict[str, Any]:
        """The catalogue."""
        return self._send("GET", "/v1/providers")

    def dead_letters(self, *, page_size: int, page_token: str, parked: bool) -> dict[str, Any]:
        """A page of messages that were refused for good or, in their place, of those that are parked."""
        asked = {"page_size": page_size, "page_token": page_token, "parked": str(parked).lower()}
        return self._send("GET", "/v1/admin/dead", params=asked)

    def replay(self, letter_id: str) -> None:
        """Publish one of them again."""
        self._send("POST", f"/v1/admin/dead/{quote(letter_id, safe='')}/replay")

    def watch(self, job_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Follow a job: pairs of `job` or `progress` and their data, until it is final; reconnects by itself."""
        last: str | None = None
        while True:
            try:
                for kind, data, event_id in self._events(job_id, last):
                    last = event_id or last
                    yield kind, data
                    if kind == "job" and data["status"] in FINAL:
                        return
            except httpx.TransportError:
                # The job goes on; what happened meanwhile is told when the stream is back.
                job = self.get(job_id)
                if job["status"] in FINAL:
                    yield "job", job
                    return

    def download(self, url: str) -> bytes:
        """A public picture: no key is sent."""
        answer = httpx.get(url, timeout=60.0, trust_env=False)
        if answer.status_code != 200:
            raise CommandFailed(f"{url} is answered with status {answer.status_code}.")
        return answer.content

    def _events(self, job_id: str, last: str | None) -> Iterator[tuple[str, dict[str, Any], str | None]]:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        with self._client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=STREAM_SECONDS) as answer:
            if answer.status_code not in (200, 204):
                answer.read()
                raise _refused(answer)
            fields: dict[str, str] = {}
            for line in answer.iter_lines():
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    yield fields.get("event", "message"), json.loads(fields["data"]), fields.get("id")
                    fields = {}

    def _send(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise CommandFailed(f"{self.url} does not answer.", ExitCode.NOT_REACHABLE) from error
        if answer.status_code >= 400:
            raise _refused(answer)
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body


def _refused(answer: httpx.Response) -> CommandFailed:
    """The problem's own words; its fields, if it names some."""
    try:
        problem = answer.json()
        fields = "; ".join(f"{one['field']}: {one['message']}" for one in problem.get("errors") or [])
        words = f"{problem['reason']}: {fields or problem['detail']}"
    except (ValueError, KeyError, TypeError):
        words = f"status {answer.status_code}"
    return CommandFailed(f"Refused: {words}", ExitCode.REFUSED)
