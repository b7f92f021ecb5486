"""A page of another origin, in a real browser, follows a job and cancels one; see docs/frontend."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from cli.stack.state import StackState
from tests.support.browsers.browser import Site, browsing, site
from tests.support.gateway.expired_tokens import expired_token
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.proxies.cutting_proxy import CuttingProxy, cutting_proxy
from tests.support.stacks.stack_clients import Client
from tests.support.stacks.tenants import set_tenant

pytestmark = pytest.mark.browser
FOLLOW = (Path(__file__).parents[2] / "docs" / "frontend" / "follow.js").read_text(encoding="utf-8")
PAGE = """<!doctype html><title>A page</title><script type="module">
import { follow } from "./follow.js";
const { api, job: id, token, cancels } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
let told = Promise.resolve();
const send = (event) => fetch("/told", { method: "POST", body: JSON.stringify(event) });
const tell = (...event) => { told = told.then(() => send(event)); };
follow(`${api}/v1/jobs/${id}/events`, token, {
  job: (job) => {
    tell("job", job);
    for (const { url } of job.artifacts) {
      const image = Object.assign(new Image(), { src: url });
      image.onload = () => tell("picture", [image.naturalWidth, image.naturalHeight]);
      image.onerror = () => tell("no picture", url);
    }
    if (cancels && job.display.actions.includes("cancel"))
      fetch(`${api}/v1/jobs/${id}/cancel`, { method: "POST", headers: { Authorization: `Bearer ${token}` } })
        .then((answer) => tell("canceled", answer.status), (error) => tell("not canceled", String(error)));
  },
  trouble: (reason) => tell("trouble", reason),
  end: (reason) => tell("end", reason),
});
</script>
"""


@pytest.fixture
def proxy(stack: StackState) -> Iterator[CuttingProxy]:
    """What the page takes for the service."""
    with cutting_proxy(stack.http) as found:
        yield found


@pytest.fixture
def page(stack: StackState, server_folder: Path) -> Iterator[Site]:
    """A site whose origin the tenant allows."""
    with site({"/": PAGE, "/follow.js": FOLLOW}) as found:
        set_tenant(server_folder / "stack", "default", cors_origins=[found.origin])
        asks = {"Origin": found.origin, "Access-Control-Request-Method": "GET"}
        deadline = time.monotonic() + PATIENCE
        while "access-control-allow-origin" not in httpx.options(f"{stack.http}/v1/jobs", headers=asks).headers:
            assert time.monotonic() < deadline, "the keys file was not read again"
            time.sleep(0.1)
        yield found


def _address(page: Site, api: str, client: Client, job: str, **more: str) -> str:
    wanted = {"job_id": job, "actions": ["read", "cancel"]}
    token = client.http.post("/v1/client-tokens", json=wanted).json()["token"]
    return f"{page.origin}/#{urlencode({'api': api, 'job': job, 'token': token} | more)}"


def _told(page: Site, name: str) -> Any:
    """What the page tells next, which has this name."""
    told, value = page.reports.get(timeout=PATIENCE)
    assert told == name, (told, value)
    return value


@pytest.mark.slow
def test_a_page_follows_a_job_over_a_cut_and_asks_nothing_after_its_end(
    client: Client, books: Books, page: Site, proxy: CuttingProxy, tmp_path: Path
) -> None:
    books.finish.clear()
    job = client.submit("slow, for a page", provider="paid")["id"]
    client.follow(job, until=("generating",))
    with browsing(_address(page, proxy.url, client, job), tmp_path):
        seen = [_told(page, "job")]
        proxy.cut_open()
        books.finish.set()
        while seen[-1]["status"] != "completed":
            seen.append(_told(page, "job"))
        told = dict(page.reports.get(timeout=PATIENCE) for _ in range(2))
        quiet_since = time.monotonic()
        time.sleep(30)

    assert [one["sequence"] for one in seen] == list(range(seen[0]["sequence"], seen[-1]["sequence"] + 1))
    assert seen[-1]["display"]["poll_after_ms"] is None
    [artifact] = seen[-1]["artifacts"]
    assert told == {"picture": [artifact["width"], artifact["height"]], "end": "done"}
    assert proxy.last_sent < quiet_since
    assert page.reports.empty()
    # From its cut connection, and once to be told that this was all.
    resumed = [head for head in proxy.seen if "last-event-id" in head.lower()]
    assert 1 <= len(resumed) <= 2


def test_a_page_that_is_told_that_the_service_is_away_comes_back(
    client: Client, books: Books, page: Site, proxy: CuttingProxy, tmp_path: Path
) -> None:
    books.finish.clear()
    job = client.submit("slow, for a page that is sent away", provider="paid")["id"]
    client.follow(job, until=("generating",))
    with browsing(_address(page, proxy.url, client, job), tmp_path):
        seen = [_told(page, "job")]
        # The stream that the browser opens again, and the question why it was refused.
        proxy.refusals = 2
        proxy.cut_open()
        assert _told(page, "trouble") == "network"
        assert _told(page, "trouble") is None
        books.finish.set()
        while seen[-1]["status"] != "completed":
            seen.append(_told(page, "job"))
        told = dict(page.reports.get(timeout=PATIENCE) for _ in range(2))

    assert [one["sequence"] for one in seen] == list(range(seen[0]["sequence"], seen[-1]["sequence"] + 1))
    assert told["end"] == "done"


def test_a_page_whose_token_has_expired_is_told_the_end(
    stack: StackState, client: Client, page: Site, tmp_path: Path
) -> None:
    job = client.submit("for yesterday", size="64x64")["id"]
    wanted = {"api": stack.http, "job": job, "token": expired_token(job, stack.api_key)}
    with browsing(f"{page.origin}/#{urlencode(wanted)}", tmp_path):
        assert _told(page, "end") == "token"


def test_a_page_whose_token_is_for_another_job_is_told_the_end(
    stack: StackState, client: Client, page: Site, tmp_path: Path
) -> None:
    job, other = (client.submit(prompt, size="64x64")["id"] for prompt in ("for a page", "for another page"))
    address = _address(page, stack.http, client, job).replace(f"job={job}", f"job={other}")
    with browsing(address, tmp_path):
        assert _told(page, "end") == "gone"


@pytest.mark.parametrize("cause", ["unknown token", "origin that is not allowed", "service that is away"])
def test_a_page_that_may_not_read_responses_says_so(
    stack: StackState, client: Client, page: Site, tmp_path: Path, cause: str
) -> None:
    job = client.submit("for a page that sees nothing", size="64x64")["id"]
    with site({"/": PAGE, "/follow.js": FOLLOW}) as strange, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        shown = strange if cause.startswith("origin") else page
        api = f"http://127.0.0.1:{closed.getsockname()[1]}" if cause.startswith("service") else stack.http
        address = _address(shown, api, client, job)
        if cause == "unknown token":
            wrong = expired_token(job, "a key of another service")
            address = f"{shown.origin}/#{urlencode({'api': api, 'job': job, 'token': wrong})}"
        with browsing(address, tmp_path):
            assert _told(shown, "trouble") == "unreachable"
    assert shown.reports.empty()


def test_a_page_cancels_its_job(client: Client, books: Books, page: Site, proxy: CuttingProxy, tmp_path: Path) -> None:
    books.finish.clear()
    job = client.submit("slow, to be canceled by a page", provider="paid")["id"]
    with browsing(_address(page, proxy.url, client, job, cancels="yes"), tmp_path):
        told = []
        while not told or told[-1][0] != "end":
            told.append(page.reports.get(timeout=PATIENCE))

    assert ["canceled", 200] in told
    assert [value["display"]["key"] for name, value in told if name == "job"][-1].startswith("canceled")
