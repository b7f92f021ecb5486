"""The operations page in Chromium, whose calls of the API are answered with the examples of the contract."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Page, Request, Route

from gateway.api_docs.examples import RESPONSES
from tests.support.browsers.watched_page import watched_page
from tests.support.gateway.gateway_app import assembled, over_http

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
        r"GET /v1/admin/webhooks": "listUnhealthyWebhooks",
        r"GET /v1/admin/tenants/[^/]+/webhooks": "listTenantWebhooks",
        r"GET /v1/admin/tenants/[^/]+/webhooks/[^/]+/deliveries": "listTenantDeliveries",
        r"POST /v1/admin/tenants/[^/]+/deliveries/[^/]+:redeliver": "redeliverForTenant",
    }
)


@dataclass(kw_only=True)
class OpsPage:
    """The page, and what it did."""

    #: In the browser.
    page: Page
    #: Bodies that replace those of the examples, by operation.
    bodies: dict[str, str] = field(default_factory=dict)
    #: Requests of the API: operation and request.
    requests: list[tuple[str, Request]] = field(default_factory=list)
    #: Violations of the policy, errors of scripts, and requests to other hosts.
    faults: list[str] = field(default_factory=list)

    def asked(self, operation: str) -> list[Request]:
        """Requests of an operation."""
        return [request for name, request in self.requests if name == operation]

    async def sign_in(self, key: str = KEY) -> None:
        """Enters a key that this tab keeps."""
        await self.page.get_by_label("Operator key").fill(key)
        await self.page.get_by_label("Keep it until this tab is closed").check()
        await self.page.get_by_role("button", name="Sign in").click()

    async def result_of(self, module: str, function: str, *arguments: Any) -> Any:
        """Calls an exported function of one of the page's modules."""
        script = """async ([module, name, given]) => {
          const found = await import(document.querySelector("script").src.replace("main.js", module));
          return found[name](...given);
        }"""
        return await self.page.evaluate(script, [module, function, list(arguments)])

    async def show(self, panel: str) -> None:
        """Follows a deep link."""
        await self.page.evaluate("hash => { location.hash = hash; }", panel)


@asynccontextmanager
async def ops_page(**context: Any) -> AsyncIterator[OpsPage]:
    """Opens the page, without a key; `context` are options of the browser's context."""
    requests: list[tuple[str, Request]] = []
    bodies: dict[str, str] = {}

    async def prepare(page: Page) -> None:
        await page.route("**/v1/**", lambda route: _answer(route, requests, bodies))

    async with assembled("127.0.0.1:1") as (app, parts), over_http(app, parts) as http:
        origin = str(http.base_url).rstrip("/")
        async with watched_page(origin, "/ops", prepare=prepare, **context) as (page, faults):
            yield OpsPage(page=page, bodies=bodies, requests=requests, faults=faults)


async def _answer(route: Route, requests: list[tuple[str, Request]], bodies: Mapping[str, str]) -> None:
    """Responds to a call of the API."""
    request = route.request
    line = f"{request.method} {urlsplit(request.url).path}"
    operation = next(name for pattern, name in _OPERATIONS.items() if re.fullmatch(pattern, line))
    requests.append((operation, request))
    if request.headers.get("authorization") != f"Bearer {KEY}":
        body = json.dumps({"reason": "UNAUTHENTICATED", "detail": "The key is not valid."})
        await route.fulfill(status=401, body=body, content_type="application/problem+json")
        return
    example = next(body for (name, _), body in RESPONSES.items() if name == operation)
    await route.fulfill(body=bodies.get(operation) or json.dumps(example), content_type="application/json")
