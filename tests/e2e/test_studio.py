"""The studio at `/`, in a real browser on the whole stack."""

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect

from cli.stack.state import StackState
from tests.support.browsers.chromium import Tabs, accessibility_faults, chromium, window
from tests.support.patience import PATIENCE
from tests.support.providers.paid_provider import Books, png
from tests.support.proxies.cutting_proxy import cutting_proxy
from tests.support.stacks.stack_clients import Client
from tests.support.stacks.tenants import set_tenant

pytestmark = pytest.mark.browser
#: Bytes, as sent, of a first visit.
FIRST_VISIT = 100_000
PHONE = {"width": 360, "height": 740}
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for this module: no event loop may run beside Playwright's."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def tabs(browser: Browser, stack: StackState) -> Iterator[Tabs]:
    """A window that does nothing that the policy forbids, and asks nobody else."""
    with window(browser, permissions=["clipboard-read", "clipboard-write"]) as found:
        yield found
        assert found.faults == []
        own = {address.split("/")[2] for address in (stack.http, stack.public_base_url)}
        assert found.hosts() <= own


def _sign_in(tabs: Tabs, stack: StackState, path: str = "/") -> Page:
    page = tabs.open(f"{stack.http}{path}")
    page.get_by_label("API key").fill(stack.api_key)
    page.get_by_label("Keep it in this tab").check()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Make images")).to_be_enabled()
    return page


def _submit(page: Page, prompt: str, *, provider: str) -> None:
    page.get_by_label("Provider", exact=True).select_option(provider)
    page.get_by_label("Describe the image").fill(prompt)
    if provider == "procedural":
        page.get_by_label("Size or ratio").select_option("custom")
        page.get_by_label("Width in pixels").fill("96")
        page.get_by_label("Height in pixels").fill("64")
    page.get_by_role("button", name="Make images").click()
    expect(_card(page, prompt)).to_be_visible()


def _card(page: Page, prompt: str) -> Any:
    return page.locator(".card", has_text=prompt).first


def test_a_stranger_signs_in_makes_an_image_and_takes_it_along(tabs: Tabs, stack: StackState) -> None:
    page = tabs.open(stack.http)
    page.get_by_label("API key").fill("of nobody")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This key or token is unknown")
    page.close()

    page = _sign_in(tabs, stack)
    assert stack.api_key not in page.url
    assert page.evaluate("localStorage.length") == 0
    _submit(page, "A heron in the reeds, studio", provider="procedural")
    expect(page.locator(".price")).to_have_text("Free")
    expect(_card(page, "A heron in the reeds, studio").locator(".picture.loaded")).to_be_visible()

    _card(page, "A heron in the reeds, studio").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your images are ready.")
    # The stack's store lets no page read its objects, so the image is opened in a tab, from which it can be saved.
    with page.expect_popup() as shown:
        dialog.get_by_role("button", name="Download").click()
    shown.value.wait_for_url(f"{stack.public_base_url}**")
    shown.value.close()
    address = dialog.locator("figure a").get_attribute("href")
    image = {"status": 200, "body": png(), "headers": {"Access-Control-Allow-Origin": "*"}}
    tabs.context.route(f"{address}", lambda route: route.fulfill(**image))
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Download").click()
    assert re.fullmatch(r"job_\w+-0\.png", saved.value.suggested_filename)
    assert saved.value.path().read_bytes() == png()
    dialog.get_by_role("button", name="Copy link").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith(stack.public_base_url)

    dialog.get_by_text("Copy this request as a program").click()
    dialog.get_by_role("button", name="Copy as curl").click()
    curl = page.evaluate("navigator.clipboard.readText()")
    assert '"prompt": "A heron in the reeds, studio"' in curl
    assert stack.api_key not in curl
    for language in ("Python", "JavaScript"):
        dialog.get_by_role("button", name=language, exact=True).click()
        expect(dialog.locator("pre")).to_contain_text("A heron in the reeds, studio")

    dialog.get_by_role("button", name="Again with this seed").click()
    expect(page.get_by_label("Seed")).to_have_value(re.compile(r"\d+"))
    expect(page.get_by_label("Width in pixels")).to_have_value("96")
    expect(page.get_by_label("Describe the image")).to_be_focused()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_job_goes_on_over_a_reload_and_can_be_canceled(
    tabs: Tabs, stack: StackState, client: Client, books: Books
) -> None:
    books.finish.clear()
    page = _sign_in(tabs, stack)
    _submit(page, "slow, studio reload", provider="paid")
    expect(page.locator(".price")).to_have_text("About $0.04")
    _card(page, "slow, studio reload").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Making your images")
    before = dialog.get_by_role("progressbar").evaluate("bar => bar.value")

    page.reload()
    expect(dialog.get_by_role("heading")).to_have_text("Making your images")
    assert dialog.get_by_role("progressbar").evaluate("bar => bar.value") >= before
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog.get_by_role("heading")).to_have_text("Canceled")
    expect(dialog.get_by_role("button", name="Cancel")).to_have_count(0)
    job = client.get(page.url.partition("#job=")[2])
    assert job["status"] == "canceled"
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert "#" not in page.url
    books.finish.set()


def test_failures_are_explained_and_a_second_charge_needs_consent(
    tabs: Tabs, stack: StackState, client: Client, books: Books
) -> None:
    page = _sign_in(tabs, stack)
    dialog = page.get_by_role("dialog")
    _submit(page, "refused, studio", provider="paid")
    expect(_card(page, "refused, studio")).to_contain_text("Not allowed")
    _card(page, "refused, studio").click()
    expect(dialog).to_contain_text("Change it and submit a new request.")
    expect(dialog.get_by_role("button", name="Try again")).to_have_count(0)
    page.keyboard.press("Escape")

    _submit(page, "drops, studio", provider="paid")
    _card(page, "drops, studio").click()
    expect(dialog.get_by_role("heading")).to_have_text("Outcome unknown")
    dialog.get_by_role("button", name="Try again…").click()
    assert books.count("drops, studio") == 1
    dialog.get_by_role("button", name="Keep it as it is").click()
    dialog.get_by_role("button", name="Try again…").click()
    dialog.get_by_role("button", name="accept a second charge").click()
    job_id = page.url.partition("#job=")[2]
    while client.get(job_id)["retry_count"] == 0:
        page.wait_for_timeout(100)
    job = client.follow(job_id)
    expect(dialog.get_by_role("heading")).to_have_text("Outcome unknown")
    assert (job["retry_count"], books.count("drops, studio")) == (1, 2)


def test_wrong_values_are_explained_at_their_field(tabs: Tabs, stack: StackState) -> None:
    page = _sign_in(tabs, stack)
    page.get_by_role("button", name="Make images").click()
    expect(page.get_by_role("alert")).to_have_text("Describe the image first.")
    page.get_by_label("Describe the image").fill("a wall, studio")
    page.get_by_label("Size or ratio").select_option("custom")
    page.get_by_label("Width in pixels").fill("9")
    page.get_by_label("Height in pixels").fill("64")
    page.get_by_role("button", name="Make images").click()
    expect(page.get_by_role("alert")).to_contain_text("size")
    expect(page.get_by_label("Size or ratio")).to_have_attribute("aria-invalid", "true")
    # JavaScript would send another number.
    page.get_by_label("Seed").fill("9007199254740993")
    page.get_by_role("button", name="Make images").click()
    expect(page.get_by_label("Seed")).to_be_focused()
    expect(page.get_by_label("Seed")).to_have_accessible_description(re.compile("at most 9007199254740991"))


def test_what_a_model_declares_is_offered_sent_and_used_again(tabs: Tabs, stack: StackState, books: Books) -> None:
    page = _sign_in(tabs, stack)
    expect(page.get_by_label("Background")).to_have_count(0)
    page.get_by_label("Provider", exact=True).select_option("edits")
    page.get_by_label("Describe the image").fill("a declared edit, studio")
    # A mask and a likeness need an image.
    page.get_by_text("More options").click()
    expect(page.get_by_label("Mask")).to_have_count(0)
    expect(page.get_by_label("Likeness to the input")).to_have_count(0)
    for label in ("Drop images here", "Mask"):
        page.get_by_label(label).set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    expect(page.get_by_role("button", name="Remove a.png")).to_have_count(2)
    page.get_by_label("Background").select_option("opaque")
    page.get_by_label("Likeness to the input").select_option("high")
    page.get_by_label("File format").select_option("jpeg")
    page.get_by_label("File quality").fill("80")
    page.get_by_label("If it is unknown whether a paid call worked").check()
    expect(page.get_by_text("More options")).to_contain_text("(5 set)")
    options = page.get_by_label("Options of this provider")
    options.fill("[1]")
    page.get_by_text("More options").click()
    page.get_by_role("button", name="Make images").click()
    expect(options).to_be_focused()
    expect(options).to_have_accessible_description(re.compile("Write an object"))
    options.fill("")
    page.get_by_label("If it fails, make the images with").select_option("procedural")
    page.get_by_role("button", name="Make images").click()
    expect(page.get_by_label("If it fails, make the images with")).to_be_focused()
    page.get_by_label("If it fails, make the images with").select_option("")
    page.get_by_role("button", name="Make images").click()

    card = _card(page, "a declared edit, studio")
    expect(card).to_contain_text("Done")
    [sent] = [body for body in books.edits if b"a declared edit, studio" in body]
    assert sent.count(png()) == 1
    for name in (b"mask", b"background", b"output_compression", b"input_fidelity"):
        assert b'name="%s"' % name in sent
    card.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("1, with a mask")
    dialog.get_by_text("Copy this request as a program").click()
    for line in ('"background": "opaque"', '"output_compression": 80', '"on_ambiguous": "retry"'):
        expect(dialog.locator("pre")).to_contain_text(line)
    dialog.get_by_role("button", name="Use these settings").click()
    expect(page.get_by_text("That job had 2 uploaded images")).to_be_visible()
    expect(page.get_by_label("File quality")).to_have_value("80")


def test_another_provider_makes_what_one_refuses(tabs: Tabs, stack: StackState) -> None:
    page = _sign_in(tabs, stack)
    page.get_by_text("More options").click()
    page.get_by_label("Provider", exact=True).select_option("paid")
    page.get_by_label("If it fails, make the images with").select_option("procedural")
    page.get_by_label("Also if the provider refuses the content").check()
    _submit(page, "refused, studio fallback", provider="paid")
    expect(_card(page, "refused, studio fallback")).to_contain_text("Done")
    _card(page, "refused, studio fallback").click()
    expect(page.get_by_role("dialog").locator("dl")).to_contain_text("Fallbacksprocedural")
    page.get_by_label("If it fails, make the images with").evaluate("select => select.value = ''")
    page.get_by_role("dialog").get_by_role("button", name="Use these settings").click()
    expect(page.get_by_label("If it fails, make the images with")).to_have_value("procedural")
    expect(page.get_by_label("Also if the provider refuses the content")).to_be_checked()


def test_a_page_that_was_offline_catches_up(tabs: Tabs, stack: StackState, books: Books) -> None:
    books.finish.clear()
    page = _sign_in(tabs, stack)
    _submit(page, "slow, studio offline", provider="paid")
    expect(_card(page, "slow, studio offline")).to_contain_text("Making your images")
    tabs.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("No connection")
    books.finish.set()
    tabs.context.set_offline(False)
    expect(_card(page, "slow, studio offline").locator(".picture.loaded")).to_be_visible()
    expect(page.get_by_text("No connection")).to_have_count(0)


def test_a_stream_that_is_cut_goes_on_where_it_ended(browser: Browser, stack: StackState, books: Books) -> None:
    books.finish.clear()
    with cutting_proxy(stack.http) as proxy, window(browser) as tabs:
        page = _sign_in(tabs, replace(stack, http=proxy.url))
        _submit(page, "slow, studio cut", provider="paid")
        expect(_card(page, "slow, studio cut")).to_contain_text("Making your images")
        proxy.cut_open()
        while not any("last-event-id" in head.lower() for head in proxy.seen):
            page.wait_for_timeout(100)
        books.finish.set()
        expect(_card(page, "slow, studio cut").locator(".picture.loaded")).to_be_visible()
        assert tabs.faults == []


def test_a_second_tab_shows_what_the_first_one_does(tabs: Tabs, stack: StackState) -> None:
    first, second = _sign_in(tabs, stack), _sign_in(tabs, stack)
    _submit(first, "a pair of shoes, studio", provider="procedural")
    expect(_card(second, "a pair of shoes, studio")).to_contain_text("Done")
    _card(first, "a pair of shoes, studio").click()
    first.get_by_role("dialog").get_by_role("button", name="Delete…").click()
    first.get_by_role("dialog").get_by_role("button", name="Delete for good").click()
    expect(first.get_by_role("dialog")).to_be_hidden()
    expect(_card(first, "a pair of shoes, studio")).to_have_count(0)


def test_input_images_are_chosen_pasted_dropped_and_sent(tabs: Tabs, stack: StackState, books: Books) -> None:
    page = _sign_in(tabs, stack)
    page.get_by_label("Provider", exact=True).select_option("edits")
    # What the model does not support is not offered.
    expect(page.get_by_label("Seed")).to_have_count(0)
    expect(page.get_by_label("What not to show")).to_have_count(0)
    page.get_by_label("Drop images here").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": png()})
    for kind in ("paste", "drop"):
        page.evaluate(_GIVE_FILE, [kind, list(png())])
    expect(page.locator(".inputs li")).to_have_count(3)
    page.get_by_role("button", name="Remove b.png").first.click()
    page.get_by_label("Drop images here").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"})
    expect(page.get_by_role("alert")).to_contain_text("only PNG, JPEG and WebP")
    _submit(page, "an edit, studio", provider="edits")
    expect(_card(page, "an edit, studio")).to_contain_text("Done")
    assert sum(body.count(png()) for body in books.edits if b"an edit, studio" in body) == 2


_GIVE_FILE = """([kind, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], "b.png", { type: "image/png" }));
  const target = document.querySelector(".drop");
  target.dispatchEvent(kind === "paste"
    ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_a_first_visit_is_small_and_a_second_one_loads_nothing_again(
    tabs: Tabs, stack: StackState, server_folder: Path
) -> None:
    key = uuid4().hex
    set_tenant(server_folder / "stack", f"visitor-{key[:8]}", key=key)
    with httpx.Client(base_url=stack.http, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as http:
        deadline = time.monotonic() + PATIENCE
        while http.get("/v1/jobs", timeout=PATIENCE).status_code == 401:
            assert time.monotonic() < deadline, "the keys file is not read again"
            threading.Event().wait(0.1)
    # No route: with one, the browser keeps nothing.
    page = tabs.open("about:blank")
    # Bytes of all responses, as sent, with their headers.
    sizes: list[float] = []
    session = tabs.context.new_cdp_session(page)
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    session.send("Network.enable")
    page.goto(stack.http)
    page.get_by_label("API key").fill(key)
    page.get_by_label("Keep it in this tab").check()
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Make images")).to_be_enabled()
    expect(page.get_by_text("There are no images yet.")).to_be_visible()
    assert len(sizes) > 10
    assert sum(sizes) < FIRST_VISIT
    page.reload()
    expect(page.get_by_role("button", name="Make images")).to_be_enabled()
    loaded = "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
    files = f"{loaded}.filter((entry) => !entry.name.includes('/v1/'))"
    assert page.evaluate(f"{files}.filter((entry) => entry.transferSize > 1000).map((entry) => entry.name)") == []


def _pages_of(job: dict[str, Any], *, jobs: int, active: bool) -> Any:
    """Answers lists of jobs, from which page size on none is real."""
    numbers = count(1)

    def answer(route: Route, request: Request) -> None:
        query = request.url.partition("?")[2]
        start = int(found[1]) if (found := re.search(r"page_token=(\d+)", query)) else 0
        end = min(start + 50, jobs)
        sequence = next(numbers) if active else job["sequence"]
        made = [job | {"id": f"job_{at:04}", "sequence": sequence} for at in range(start, end)]
        if active:
            display = job["display"] | {"title": f"Round {sequence}", "percent": 40, "poll_after_ms": 1000}
            made = [one | {"status": "generating", "display": display, "artifacts": []} for one in made]
        body = {"jobs": made, "next_page_token": str(end) if end < jobs else None}
        route.fulfill(status=200, content_type="application/json", body=json.dumps(body))

    return answer


def test_a_gallery_of_500_jobs_is_read_page_by_page(tabs: Tabs, stack: StackState, client: Client) -> None:
    job = client.follow(client.submit("one of many, studio", size="64x64")["id"])
    tabs.context.route("**/v1/jobs?*", _pages_of(job, jobs=500, active=False))
    page = _sign_in(tabs, stack)
    for shown in range(50, 500, 50):
        expect(page.locator(".card")).to_have_count(shown)
        page.get_by_role("button", name="Show older images").click()
    expect(page.locator(".card")).to_have_count(500)
    expect(page.get_by_role("button", name="Show older images")).to_have_count(0)


_COUNT_CHANGED_CARDS = """() => {
  window.changedCards = new Set();
  const every = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      const element = target.closest ? target : target.parentElement;
      // "2 minutes ago" may become "3 minutes ago" meanwhile.
      if (!element.closest("time")) changedCards.add(element.closest(".card"));
    }
  }).observe(document.querySelector(".gallery"), every);
}"""


def test_the_page_answers_while_50_jobs_run(tabs: Tabs, stack: StackState, client: Client) -> None:
    job = client.follow(client.submit("one of fifty, studio", size="64x64")["id"])
    tabs.context.route("**/v1/jobs?*", _pages_of(job, jobs=50, active=True))
    # Streams on which nothing happens.
    tabs.context.route("**/events", lambda _: None)
    page = _sign_in(tabs, stack)
    expect(page.locator(".card", has_text="Round 3")).to_have_count(50)
    page.evaluate(_COUNT_CHANGED_CARDS)
    # All others are older than what the page shows.
    display = job["display"] | {"title": "Alone", "percent": 40, "poll_after_ms": 1000}
    active = job | {"status": "generating", "display": display, "artifacts": [], "sequence": 0}
    jobs = [active | {"id": f"job_{at:04}", "sequence": 10_000 if at == 7 else 0} for at in range(50)]
    body = {"jobs": jobs, "next_page_token": None}
    tabs.context.route("**/v1/jobs?*", lambda route: route.fulfill(json=body))
    page.evaluate("changedCards.clear()")
    expect(page.locator(".card", has_text="Alone")).to_have_count(1)
    page.evaluate("changedCards.clear()")
    page.get_by_label("Describe the image").press_sequentially("typed meanwhile")
    expect(page.get_by_label("Describe the image")).to_have_value("typed meanwhile")
    assert page.evaluate("changedCards.size") == 0
    # HTTP/1.1 gives six connections to all tabs together.
    streams = {url for url in tabs.requested if url.endswith("/events")}
    assert len(streams) <= 2


def test_the_page_is_usable_with_the_keyboard_alone(tabs: Tabs, stack: StackState) -> None:
    page = _sign_in(tabs, stack)
    page.get_by_label("Describe the image").fill("a typewriter, studio")
    page.get_by_label("Describe the image").press("Control+Enter")
    expect(_card(page, "a typewriter, studio")).to_contain_text("Done")
    _card(page, "a typewriter, studio").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(_card(page, "a typewriter, studio")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete…").press("Enter")
    page.get_by_role("button", name="Delete for good").press("Enter")
    expect(page.get_by_role("heading", name="Your images")).to_be_focused()
    page.evaluate("location.hash = 'job=job_of_nobody'")
    page.reload()
    expect(page.get_by_role("dialog")).to_contain_text("There is no such job. It may have been deleted.")


def test_a_job_opens_again_at_once_after_its_dialog_was_closed(tabs: Tabs, stack: StackState) -> None:
    page = _sign_in(tabs, stack)
    _submit(page, "a turnstile, studio", provider="procedural")
    _card(page, "a turnstile, studio").click()
    expect(page.get_by_role("dialog")).to_be_visible()

    # The browser closes the dialog at once, as at Escape, and says so with an event after the click.
    _card(page, "a turnstile, studio").evaluate("card => { document.querySelector('dialog').close(); card.click(); }")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_violated(browser: Browser, stack: StackState, scheme: Any) -> None:
    with window(browser, bypass_csp=True, color_scheme=scheme, viewport=PHONE) as tabs:
        page = tabs.open(stack.http)
        expect(page.get_by_label("API key")).to_be_visible()
        assert accessibility_faults(page) == []
        page = _sign_in(tabs, stack)
        page.get_by_label("Provider", exact=True).select_option("edits")
        page.get_by_label("Drop images here").set_input_files({"name": "a", "mimeType": "image/png", "buffer": png()})
        page.get_by_text("More options").click()
        expect(page.get_by_label("Likeness to the input")).to_be_visible()
        assert accessibility_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        _submit(page, f"a gate, studio {scheme}", provider="procedural")
        expect(_card(page, f"a gate, studio {scheme}")).to_contain_text("Done")
        assert accessibility_faults(page) == []
        _card(page, f"a gate, studio {scheme}").click()
        page.get_by_role("dialog").get_by_text("Copy this request as a program").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete…").click()
        assert accessibility_faults(page) == []
        # Nothing is wider than a phone.
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert page.get_by_role("dialog").evaluate("dialog => dialog.scrollWidth - dialog.clientWidth") <= 0
        shade = page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)")
        assert (sum(shade) < 3 * 64) == (scheme == "dark")
