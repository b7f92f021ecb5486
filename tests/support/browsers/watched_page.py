"""A page of the gateway in Chromium; violations of its policy, errors, and requests to other hosts are noted."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, async_playwright

from tests.support.required_tools import need

_NOTE_VIOLATIONS = """
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  noteViolation(`${violatedDirective} ${blockedURI}`);
});
"""


@asynccontextmanager
async def watched_page(
    origin: str, path: str, *, prepare: Callable[[Page], Awaitable[Any]] | None = None, **context: Any
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Opens the page; `prepare` is called before, `context` are options of the browser's context."""
    chromium = need("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    faults: list[str] = []

    def note(fault: str) -> None:
        faults.append(fault)

    def note_other_host(url: str) -> None:
        if not url.startswith((f"{origin}/", "blob:")):
            note(f"requested {url}")

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await (await browser.new_context(**context)).new_page()
        await page.expose_function("noteViolation", note)
        await page.add_init_script(_NOTE_VIOLATIONS)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("request", lambda request: note_other_host(request.url))
        if prepare is not None:
            await prepare(page)
        await page.goto(f"{origin}{path}")
        yield page, faults
        await browser.close()
