"""The operations page in Chromium, whose calls of the API are answered with the examples of the contract."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Page, Request, Route, async_playwright

from gateway.api_docs.examples import RESPONSES
from tests.support.gateway.gateway_app import assembled, over_http
from tests.support.required_tools import need

KEY = "the operator's key"
#: Operations by method and path.
_OPERATIONS: Mapping[str, str] = MappingProxyType(
    {
        r"GET /v1/admin/queue": "getQueue",
        r"GET /v1/admin/throughput": "getThroughput",
        r"GET /v1/admin/pauses": "listPauses",
        r"GET /v1/admin/providers": "listProviderUse",
        r"GET /v1/admin/jobs": "listAnyJobs",
        r"GET /v1/admin/jobs/[^/]+": "getAnyJob",
        r"GET /v1/admin/dead": "listDeadLetters",
        r"GET /v1/admin/spend": "listSpend",
        r"GET /v1/admin/bulk-actions": "listBulkActions",
        r"POST /v1/admin/bulk-actions:preview": "previewBulkAction",
        r"POST /v1/admin/bulk-actions": "createBulkAction",
        r"GET /v1/admin/tenants/[^/]+/webhooks": "listTenantWebhooks",
        r"GET /v1/admin/tenants/[^/]+/webhooks/[^/]+/deliveries": "listTenantDeliveries",
    }
)

_NOTE_VIOLATIONS = """
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  noteViolation(`${violatedDirective} ${blockedURI}`);
});
"""


@dataclass(kw_only=True)
class OpsPage:
    """The page, and what it did."""

    page: Page
    #: Bodies that replace those of the examples, by operation.
    bodies: dict[str, str] = field(default_factory=dict)
    #: Requests of the API: operation and request.
    requests: list[tuple[str, Request]] = field(default_factory=list)
    #: Violations of the policy, errors of scripts, and requests to other hosts.
    faults: list[str] = field(default_factory=list)

    async def answer(self, route: Route) -> None:
        """Responds to a call of the API."""
        request = route.request
        line = f"{request.method} {urlsplit(request.url).path}"
        operation = next(name for pattern, name in _OPERATIONS.items() if re.fullmatch(pattern, line))
        self.requests.append((operation, request))
        if request.headers.get("authorization") != f"Bearer {KEY}":
            body = json.dumps({"reason": "UNAUTHENTICATED", "detail": "The key is not valid."})
            await route.fulfill(status=401, body=body, content_type="application/problem+json")
            return
        example = next(body for (name, _), body in RESPONSES.items() if name == operation)
        await route.fulfill(body=self.bodies.get(operation) or json.dumps(example), content_type="application/json")

    def note(self, fault: str) -> None:
        """Keeps a fault."""
        self.faults.append(fault)

    def asked(self, operation: str) -> list[Request]:
        """Requests of an operation."""
        return [request for name, request in self.requests if name == operation]

    async def sign_in(self, key: str = KEY) -> None:
        """Enters a key that this tab keeps."""
        await self.page.get_by_label("Operator key").fill(key)
        await self.page.get_by_label("Keep it until this tab is closed").check()
        await self.page.get_by_role("button", name="Sign in").click()

    async def show(self, panel: str) -> None:
        """Follows a deep link."""
        await self.page.evaluate("hash => { location.hash = hash; }", panel)


@asynccontextmanager
async def ops_page(**context: Any) -> AsyncIterator[OpsPage]:
    """Opens the page, without a key; `context` are options of the browser's context."""
    chromium = need("chromium", "chromium-browser", "google-chrome", install="apt-get install chromium")
    async with assembled("127.0.0.1:1") as (app, parts), over_http(app, parts) as http, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = await (await browser.new_context(**context)).new_page()
        opened = OpsPage(page=page)
        origin = str(http.base_url).rstrip("/")
        await page.expose_function("noteViolation", opened.note)
        await page.add_init_script(_NOTE_VIOLATIONS)
        page.on("pageerror", lambda error: opened.faults.append(str(error)))
        page.on("request", lambda request: _note_other_host(opened, request, origin))
        await page.route("**/v1/**", opened.answer)
        await page.goto(f"{origin}/ops")
        yield opened
        await browser.close()


def _note_other_host(opened: OpsPage, request: Request, origin: str) -> None:
    if not request.url.startswith((f"{origin}/", "blob:")):
        opened.faults.append(f"requested {request.url}")
