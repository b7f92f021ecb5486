"""An operator's ten minutes: all is found and done on the operations page, in a real browser, on a real stack."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Page, expect

from cli.stack.state import StackState
from tests.support.brokers.facts import broker_at, publish
from tests.support.browsers.watched_page import watched_page
from tests.support.notifier.processes import receiver
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books
from tests.support.stacks.pauses import end_pauses
from tests.support.stacks.stack_clients import Client

pytestmark = [pytest.mark.browser, pytest.mark.slow]
USER = "somebody on the operations page"
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
async def page(stack: StackState) -> AsyncIterator[Page]:
    """The page, signed in."""
    async with watched_page(stack.http, "/ops") as (opened, faults):
        await opened.get_by_label("Operator key").fill(stack.operator_key)
        await opened.get_by_role("button", name="Sign in").click()
        yield opened
        assert faults == []
    await asyncio.to_thread(end_pauses, stack.http, stack.operator_key)


async def _go(page: Page, panel: str) -> None:
    await page.get_by_role("navigation", name="Panels").get_by_role("link", name=panel).click()


async def _submit(client: Client, prompt: str, **fields: Any) -> str:
    job: dict[str, Any] = await asyncio.to_thread(client.submit, prompt, **fields)
    return str(job["id"])


async def test_an_operator_finds_a_stuck_job_pauses_its_provider_and_cancels_by_filter(
    page: Page, client: Client, books: Books
) -> None:
    books.finish.clear()
    stuck = await _submit(client, "slow, for an operator", provider="paid", end_user=USER)
    await asyncio.to_thread(client.wait_for_call, stuck, phase="accepted")

    await page.get_by_role("rowheader", name="generating").get_by_role("link").click()
    await page.get_by_role("link", name=stuck).click()
    await expect(page.get_by_role("heading", name=stuck)).to_be_visible()
    await expect(page.get_by_text("Call of paid/test/model began")).to_be_visible()
    await expect(page.get_by_role("cell", name="accepted", exact=True)).to_be_visible()

    await _go(page, "Providers")
    await page.get_by_role("button", name="Pause provider paid").click()
    await page.get_by_label("Note for other operators").fill("they are slow")
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    await expect(page.get_by_text("Paused provider paid.")).to_be_visible()
    waiting = await _submit(client, "good, for later", provider="paid", end_user=USER)
    await _go(page, "Queue")
    await expect(page.get_by_role("cell", name="they are slow")).to_be_visible()

    await _go(page, "Jobs")
    await page.get_by_text("More filters").click()
    await page.get_by_label("end user").fill(USER)
    await page.get_by_role("button", name="Search").click()
    await expect(page.locator("tbody tr")).to_have_count(2)
    await page.get_by_role("link", name=waiting).click()
    await expect(page.get_by_text("queued, waits for paused")).to_be_visible()
    await page.go_back()
    await page.get_by_role("button", name="Cancel all that match…").click()
    dialog = page.get_by_role("dialog", name="Cancel 2 jobs?")
    await dialog.get_by_label("Enter 2 to confirm").fill("2")
    await dialog.get_by_role("button", name="Cancel them").click()
    await expect(page.get_by_role("row", name=re.compile(re.escape(USER)))).to_contain_text("2 done, 0 skipped, of 2")
    for job in (stuck, waiting):
        assert (await asyncio.to_thread(client.follow, job))["status"] == "canceled"


async def test_an_operator_replays_a_dead_letter(page: Page, stack: StackState) -> None:
    async with broker_at(stack.nats_url) as broker:
        await publish(broker, [b"no fact"])
    await _go(page, "Dead letters")
    letter = page.locator("tbody tr").last
    number = await letter.get_attribute("data-id")
    await letter.get_by_role("button", name="Replay").click()
    await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    # It is refused again, as a new letter.
    await expect(page.get_by_text(f"Replayed dead letter {number}.")).to_be_visible()
    await expect(page.locator(f'tr[data-id="{number}"]')).to_have_count(0)
    await expect(page.locator("tbody tr")).not_to_have_count(0)


async def test_an_operator_sees_a_tenants_webhooks_and_sends_an_event_again(page: Page, client: Client) -> None:
    async with receiver() as endpoint:
        wanted = {"url": endpoint.url, "event_types": ["job.completed"]}
        webhook = (await asyncio.to_thread(client.http.post, "/v1/webhooks", json=wanted)).json()
        job = await _submit(client, "for a receiver that lost it", size="64x64")
        first = await endpoint.next()
        await _go(page, "Webhooks")
        await page.get_by_role("combobox", name="Tenant").fill("default")
        await page.get_by_role("button", name="Show webhooks").click()
        await expect(page.locator(f'tr[data-id="{webhook["id"]}"]')).to_contain_text("healthy")
        await page.locator(f'tr[data-id="{webhook["id"]}"]').get_by_role("link").click()
        delivery = first.headers["webhook-id"]
        row = page.locator(f'tr[data-id="{delivery}"]')
        await expect(row).to_contain_text("delivered")
        await row.get_by_role("button", name="Redeliver").click()
        await page.get_by_role("dialog").get_by_role("button", name="Redeliver").click()
        second = await endpoint.next()
        await expect(page.get_by_text(f"{delivery} is due now.")).to_be_visible()
        await row.get_by_role("link", name=job).click()
        await expect(page.get_by_text("job.completed delivered")).to_be_visible()
        await asyncio.to_thread(client.http.delete, f"/v1/webhooks/{webhook['id']}")

    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
