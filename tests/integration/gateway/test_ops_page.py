"""The operations page in Chromium: panels, deep links, pauses of updates, confirmations, keyboard, accessibility."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from importlib import resources
from typing import Any

import pytest
from playwright.async_api import Route, expect

from gateway.api_docs import examples, webhook_examples
from tests.support.browsers.ops_page import KEY, OpsPage, ops_page
from tests.support.patience import PATIENCE, pause

pytestmark = pytest.mark.browser
PANELS = {
    "#/queue": "PROVIDER_AUTH",
    "#/jobs?status=canceled": "job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b",
    "#/jobs/job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b": "Rate limit reached",
    "#/providers": "$12.48",
    "#/webhooks": "https://shop.example/hooks/calotype",
    "#/webhooks/wh_1?tenant=acme": "msg_",
    "#/dead": "The body cannot be decoded.",
    "#/bulk": "97 done, 2 skipped, of 412",
    "#/spend": "$402.88",
}
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture
async def opened() -> AsyncIterator[OpsPage]:
    """The page, signed in."""
    async with ops_page() as page:
        await page.sign_in()
        yield page
        assert page.faults == []


async def _axe(page: OpsPage) -> list[dict[str, Any]]:
    """What axe finds, without what is fine."""
    script = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    await page.page.evaluate(script)
    found: list[dict[str, Any]] = await page.page.evaluate("axe.run().then(({violations}) => violations)")
    return [{"id": one["id"], "at": [node["html"] for node in one["nodes"]]} for one in found]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_each_panel_shows_what_the_api_says_and_is_accessible(scheme: str) -> None:
    width = {"width": 390, "height": 800} if scheme == "dark" else {"width": 1280, "height": 900}
    async with ops_page(color_scheme=scheme, viewport=width) as page:
        assert await _axe(page) == []
        await page.sign_in()
        for panel, text in PANELS.items():
            await page.show(panel)
            await expect(page.page.get_by_text(text).first).to_be_visible()
            assert await _axe(page) == [], panel
            wide = await page.page.evaluate("document.documentElement.scrollWidth > innerWidth")
            assert not wide, panel
        assert page.faults == []


async def test_a_key_that_is_refused_is_asked_for_again_and_stands_in_no_address() -> None:
    async with ops_page() as page:
        await page.sign_in("wrong")
        await expect(page.page.get_by_role("alert")).to_have_text("The key is not valid.")
        await page.sign_in()
        await expect(page.page.get_by_role("heading", name="Jobs by stage")).to_be_visible()
        await page.page.reload()
        await expect(page.page.get_by_role("heading", name="Jobs by stage")).to_be_visible()
        await page.page.get_by_role("button", name="Sign out").click()
        await page.page.reload()
        await expect(page.page.get_by_label("Operator key")).to_be_visible()
        assert KEY not in page.page.url
        assert all(KEY not in request.url for _, request in page.requests)


async def test_a_pause_of_updates_outlives_focus_another_panel_and_a_reload() -> None:
    async with ops_page() as page:
        await page.page.clock.install()
        await page.sign_in()
        await expect(page.page.get_by_role("heading", name="Jobs by stage")).to_be_visible()
        await page.page.clock.run_for(5_200)
        await _until(lambda: len(page.asked("getQueue")) == 2)
        await page.page.get_by_role("button", name="Pause updates").click()
        await page.page.evaluate(
            "dispatchEvent(new Event('focus')); document.dispatchEvent(new Event('visibilitychange'))"
        )
        await page.page.clock.run_for(60_000)
        assert len(page.asked("getQueue")) == 2
        # A panel that is opened loads once.
        await page.show("#/providers")
        await expect(page.page.get_by_text("$12.48")).to_be_visible()
        await page.page.clock.run_for(60_000)
        assert len(page.asked("listProviderUse")) == 1
        await page.page.reload()
        await expect(page.page.get_by_role("button", name="Pause updates")).to_have_attribute("aria-pressed", "true")
        await _until(lambda: len(page.asked("listProviderUse")) == 2)
        await page.page.get_by_role("button", name="Pause updates").click()
        await _until(lambda: len(page.asked("listProviderUse")) == 3)
        assert page.faults == []


async def test_filters_are_deep_links(opened: OpsPage) -> None:
    await opened.show("#/jobs")
    await opened.page.get_by_label("failed").check()
    await opened.page.get_by_label("tenant").fill("a&b/ü")
    await opened.page.get_by_text("More filters").click()
    await opened.page.get_by_label("reason").fill("PROVIDER_AUTH")
    await opened.page.get_by_role("button", name="Search").click()
    await expect(opened.page).to_have_url(
        re.compile(r"#/jobs\?status=failed&tenant=a%26b%2F%C3%BC&reason=PROVIDER_AUTH$")
    )
    await _until(lambda: "reason=PROVIDER_AUTH" in opened.asked("listAnyJobs")[-1].url)
    assert "status=failed" in opened.asked("listAnyJobs")[-1].url
    assert "tenant=a%26b%2F%C3%BC" in opened.asked("listAnyJobs")[-1].url
    assert "page_size=100" in opened.asked("listAnyJobs")[0].url
    await opened.page.reload()
    await expect(opened.page.get_by_label("tenant")).to_have_value("a&b/ü")
    # The action applies to none of these states.
    await expect(opened.page.get_by_role("button", name="Cancel all that match…")).to_be_disabled()


async def test_a_bulk_action_starts_once_its_number_of_jobs_was_entered(opened: OpsPage) -> None:
    await opened.show("#/jobs?tenant=acme&status=failed&status=completed")
    await opened.page.get_by_role("button", name="Retry all that match…").click()
    dialog = opened.page.get_by_role("dialog", name="Retry 412 jobs?")
    await expect(dialog).to_contain_text("job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b")
    await expect(dialog.get_by_role("button", name="Retry them")).to_be_disabled()
    await dialog.get_by_label("Enter 412 to confirm").fill("41")
    await opened.page.keyboard.press("Enter")
    assert opened.asked("createBulkAction") == []
    await dialog.get_by_label("Enter 412 to confirm").fill("412")
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.get_by_role("heading", name="Bulk actions")).to_be_visible()

    [created] = opened.asked("createBulkAction")
    wanted = {"action": "retry", "filter": {"tenant": "acme", "status": ["failed"]}, "on_ambiguous": "fail"}
    assert created.post_data_json == wanted
    assert re.fullmatch("[0-9a-f]{32}", created.headers["idempotency-key"])


async def test_a_question_that_the_browser_closed_is_not_lost(opened: OpsPage) -> None:
    acts = asyncio.Event()

    async def refuse(route: Route) -> None:
        await acts.wait()
        await route.fulfill(status=503, json={"detail": "Not now."}, content_type="application/problem+json")

    await opened.page.route("**/v1/admin/bulk-actions", refuse)
    await opened.show("#/jobs?tenant=acme&status=failed")
    retry = opened.page.get_by_role("button", name="Retry all that match…")
    await retry.click()
    dialog = opened.page.get_by_role("dialog", name="Retry 412 jobs?")
    await dialog.get_by_label("Enter 412 to confirm").fill("412")
    await opened.page.keyboard.press("Enter")
    await expect(dialog.get_by_role("button", name="Retry them")).to_be_disabled()

    # As at a second Escape in a row, which no page can prevent.
    await dialog.evaluate("dialog => dialog.close()")
    acts.set()
    await expect(dialog.get_by_role("alert")).to_have_text("Not now.")

    await dialog.evaluate("dialog => dialog.close()")
    await expect(opened.page.locator("dialog")).to_have_count(0)
    await retry.click()
    await expect(dialog).to_be_visible()


async def test_the_undelivered_events_of_a_list_are_sent_again_oldest_first(opened: OpsPage) -> None:
    delivery = webhook_examples.DELIVERY
    states = {"msg_4": "failed", "msg_3": "delivered", "msg_2": "held", "msg_1": "failed"}
    listed = [delivery | {"id": name, "state": state} for name, state in states.items()]
    opened.bodies["listTenantDeliveries"] = json.dumps({"deliveries": listed, "next_page_token": None})
    await opened.show("#/webhooks/wh_1?tenant=acme")
    await opened.page.get_by_role("button", name="Redeliver the 3 undelivered…").click()
    dialog = opened.page.get_by_role("dialog", name="Send 3 events again?")
    await dialog.get_by_label("Enter 3 to confirm").fill("3")
    await dialog.get_by_role("button", name="Redeliver").click()
    await expect(opened.page.get_by_text("3 deliveries are due now.")).to_be_visible()

    sent = [request.url.rpartition("/")[2] for request in opened.asked("redeliverForTenant")]
    assert sent == ["msg_1:redeliver", "msg_2:redeliver", "msg_4:redeliver"]


async def test_the_keyboard_reaches_everything_and_focus_returns_after_a_dialog(opened: OpsPage) -> None:
    await expect(opened.page.get_by_role("heading", name="Jobs by stage")).to_be_visible()
    await opened.page.keyboard.press("Tab")
    await expect(opened.page.get_by_text("Skip to the content")).to_be_focused()
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.get_by_role("heading", name="Queue", exact=True)).to_be_focused()
    await opened.page.keyboard.press("Tab")
    pause = opened.page.get_by_role("button", name="Pause the queue")
    await expect(pause).to_be_focused()
    await opened.page.keyboard.press("Enter")
    await expect(opened.page.get_by_role("dialog", name="Pause the queue?")).to_be_visible()
    assert await _axe(opened) == []
    await opened.page.keyboard.press("Escape")
    await expect(pause).to_be_focused()


async def test_integers_beyond_those_of_numbers_stay_whole(opened: OpsPage) -> None:
    spend = examples.SPEND["tenants"][0] | {"budget_micros_per_month": 9_007_199_254_740_993}
    opened.bodies["listSpend"] = json.dumps({"tenants": [spend], "next_page_token": None})
    await opened.show("#/spend")
    await expect(opened.page.get_by_text("$9,007,199,254.740993")).to_be_visible()


#: Modules, functions, their arguments and results.
FUNCTIONS: list[tuple[str, str, list[Any], Any]] = [
    (
        "json.js",
        "parseJson",
        ["[9007199254740993, -9007199254740993, 9007199254740991, 7]"],
        ["9007199254740993", "-9007199254740993", 9007199254740991, 7],
    ),
    (
        "json.js",
        "parseJson",
        ['{"a": "9007199254740993 \\" 9007199254740993", "b": 0.1234567890123456789, "c": 1e21}'],
        {"a": '9007199254740993 " 9007199254740993', "b": 0.1234567890123456789, "c": 1e21},
    ),
    ("format.js", "dollars", [-1_500_000], "-$1.50"),
    ("format.js", "dollars", ["9007199254740993000001"], "$9,007,199,254,740,993.000001"),
    ("format.js", "duration", [7_265], "2 h 1 min"),
    ("routes.js", "parseRoute", ["#/nothing?a=b"], {"panel": "queue", "id": "", "query": {}}),
    (
        "routes.js",
        "parseRoute",
        ["#/jobs/a%2Fb?x=1&x=2&y="],
        {"panel": "jobs", "id": "a/b", "query": {"x": ["1", "2"]}},
    ),
    ("routes.js", "bulkFilter", ["cancel", {"status": ["failed"]}], None),
    (
        "routes.js",
        "bulkFilter",
        ["cancel", {"tenant": ["a"]}],
        {"tenant": "a", "status": ["queued", "processing", "generating", "uploading"]},
    ),
]


async def test_functions_of_the_page(opened: OpsPage) -> None:
    for module, function, arguments, result in FUNCTIONS:
        assert await opened.result_of(module, function, *arguments) == result, (function, arguments)


async def test_rates_are_of_the_time_that_was_counted(opened: OpsPage) -> None:
    minutes = [
        {"starts_at": f"2026-01-31T11:{minute:02}:00Z", "completed": 8, "failed": 2, "canceled": 1}
        for minute in range(50, 60)
    ]
    found = {"now": "2026-01-31T12:00:00Z", "minutes": minutes, "failures": [], "stages": []}
    whole = await opened.result_of("format.js", "rates", found | {"counted_since": "2026-01-31T11:00:00Z"}, 5)
    short = await opened.result_of("format.js", "rates", found | {"counted_since": "2026-01-31T11:50:00Z"}, 60)

    assert whole == {"completed": 40, "failed": 10, "canceled": 5, "seconds": 300, "perMinute": 10}
    assert short == {"completed": 80, "failed": 20, "canceled": 10, "seconds": 600, "perMinute": 10}


async def test_a_list_shows_what_it_had_while_the_gateway_does_not_respond(opened: OpsPage) -> None:
    await expect(opened.page.get_by_role("heading", name="Jobs by stage")).to_be_visible()
    await opened.page.context.set_offline(True)
    await opened.page.route("**/v1/**", lambda route: route.abort())
    await expect(opened.page.get_by_role("alert")).to_contain_text("The gateway does not respond.")
    await expect(opened.page.get_by_role("heading", name="Jobs by stage")).to_be_visible()


async def _until(holds: Any) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():
            await pause()
