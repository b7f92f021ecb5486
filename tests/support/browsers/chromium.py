"""Chromium on the gateway's pages, driven by Playwright; notes what no page may do."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, sync_playwright

from tests.support.patience import PATIENCE
from tests.support.required_tools import need

#: Made before scripts of the page run; the policy does not apply to it.
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
#: What the browser itself says about responses that a test wants: 401, none while offline, an image without CORS.
_EXPECTED = ("Failed to load resource", "Access to fetch at")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without windows."""
    path = need("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@dataclass
class Tabs:
    """Tabs of one window, which share storage; each of them is checked at the end."""

    context: BrowserContext
    #: URLs of all requests.
    requested: list[str] = field(default_factory=list)
    #: Policy violations, uncaught exceptions and errors in the console.
    faults: list[str] = field(default_factory=list)

    def open(self, url: str) -> Page:
        """Returns a new tab with the page."""
        page = self.context.new_page()
        page.on("console", self._note_message)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", self._note_request)
        page.goto(url)
        return page

    def hosts(self) -> set[str]:
        """Hosts and ports of all requests."""
        return {urlsplit(url).netloc for url in self.requested if not url.startswith(("blob:", "data:"))}

    def _note_request(self, request: Request) -> None:
        self.requested.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_EXPECTED):
            self.faults.append(message.text)


@contextmanager
def window(browser: Browser, **options: Any) -> Iterator[Tabs]:
    """An empty window, as of a new user; `options` are Playwright's for a context."""
    context = browser.new_context(locale="en-US", **options)
    context.set_default_timeout(PATIENCE * 1000)
    context.add_init_script(_REPORT_VIOLATIONS)
    try:
        yield Tabs(context)
    finally:
        context.close()


def accessibility_faults(page: Page) -> list[str]:
    """Violations of axe's rules; the window needs `bypass_csp`, as axe is a script that is put into the page."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]} {node.get('failureSummary')}" for one in found for node in one["nodes"]]
