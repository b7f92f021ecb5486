"""A budget of the keys file, from the file to the provider that is not asked any more."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from cli.stack.state import StackState
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.stacks.stack_clients import Client, RetryingTransport
from tests.support.stacks.tenants import set_tenant

PRICE = 40_000


@pytest.fixture
def tenant(stack: StackState, server_folder: Path) -> Iterator[tuple[str, Client]]:
    """A tenant that may spend what one picture costs, and its frontend."""
    name, key = f"saver-{uuid4().hex[:8]}", uuid4().hex
    set_tenant(server_folder / "stack", name, key=key, budget_micros_per_day=PRICE)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(
        base_url=stack.http, timeout=PATIENCE, transport=RetryingTransport(), trust_env=False, headers=headers
    ) as http:
        deadline = time.monotonic() + PATIENCE
        while http.get("/v1/providers").status_code == 401:
            assert time.monotonic() < deadline, "the keys file is not read again"
            threading.Event().wait(0.1)
        yield name, Client(http)


def test_one_picture_is_bought_and_the_next_is_refused_or_made_for_nothing(
    stack: StackState, tenant: tuple[str, Client], books: Books
) -> None:
    name, client = tenant
    bought = client.follow(client.submit("a harbour for one", provider="paid")["id"])
    refused = client.http.post("/v1/jobs", json={"prompt": "a harbour for two", "provider": "paid"})
    free = client.follow(client.submit("a harbour for two", provider="paid", fallback=["procedural"])["id"])
    shown = client.http.get(
        "/v1/admin/spend", params={"page_size": 100}, headers={"Authorization": f"Bearer {stack.operator_key}"}
    ).json()

    assert (bought["status"], bought["cost"]["amount_micros"]) == ("completed", PRICE), bought["error"]
    assert (refused.status_code, refused.json()["reason"]) == (402, "BUDGET_EXHAUSTED")
    assert free["status"] == "completed", free["error"]
    assert (books.count("a harbour for one"), books.count("a harbour for two")) == (1, 0)
    [day] = [one["day"] for one in shown["tenants"] if one["tenant"] == name]
    assert (day["spent_micros"], day["reserved_micros"]) == (PRICE, 0)
