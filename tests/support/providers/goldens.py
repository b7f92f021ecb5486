"""Golden conversations: per provider kind, exact requests, the responses to them, and the result of a call.

A golden is data, `tests/conformance/providers/goldens/KIND.yaml`; this module reads it and plays it against an adapter.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import yaml

from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain.provider_results import Generated, Operation, ProviderError
from services.generator.ports import ProviderRequest
from tests.support.generator.request_conversion import as_generator_sees
from tests.support.patience import PATIENCE
from tests.support.providers.multipart_forms import form_of
from tests.support.providers.provider_fixtures import KEY, REMOTE, DescribedProvider
from tests.support.providers.scripted_http import Manner, Request, ScriptedResponse, ScriptedServer, scripted_server

FOLDER = Path(__file__).parents[2] / "conformance" / "providers" / "goldens"
#: Headers of the HTTP client, which the provider ignores.
_OWN = frozenset({"accept-encoding", "connection", "content-length", "host", "user-agent"})
#: The header of a client that accepts any response.
_ANY = ("accept", "*/*")
_IMAGES = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff", "mask": b"\x89PNG\r\n\x1a\nmask"}


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One kind's golden: its entry of the provider file, and its cases by name."""

    kind: str
    entry: Mapping[str, Any]
    cases: Mapping[str, Any]


@cache
def read(kind: str) -> Golden:
    """The golden of a kind."""
    content = yaml.safe_load((FOLDER / f"{kind}.yaml").read_text(encoding="utf-8"))
    return Golden(kind=kind, entry=content["entry"], cases=content["cases"])


def kinds() -> list[str]:
    """Kinds that have a golden."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def provider_of(golden: Golden, url: str, transport: httpx.AsyncBaseTransport | None = None) -> DescribedProvider:
    """Returns the adapter of the golden's entry, with a server at `url`."""
    [entry] = ProviderFile.model_validate({"providers": [_at(golden.entry, url)]}).providers
    return REMOTE[golden.kind](entry, api_key=KEY, transport=transport)


class GoldenFixture:
    """Expects the requests of a golden: its cases `good`, and `n` for more than one image."""

    def __init__(self, golden: Golden, server: ScriptedServer) -> None:
        self.provider = provider_of(golden, server.url)
        self._golden = golden
        self._server = server

    def order(self, *, count: int = 1, call_id: str = "call_1", **request: Any) -> ProviderRequest:
        """The call of a case."""
        order = order_of(self._golden, self._golden.cases["good" if count == 1 else "n"])
        return replace(order, call_id=call_id, count=count, request=replace(order.request, **request))

    def expect_success(self, order: ProviderRequest) -> None:
        """Adds the steps of a case to the script."""
        for step in script_of(self._golden, "good" if order.count == 1 else "n", self._server.url):
            self._server.expect(*step)


def order_of(golden: Golden, case: Mapping[str, Any]) -> ProviderRequest:
    """Returns the call of a case, as the adapter gets it from the job's request; images are given by name."""
    body: dict[str, Any] = {"prompt": "a harbour"} | case.get("job", {})
    named, mask = body.get("input_images", []), body.get("mask")
    body |= {"input_images": [_image(name) for name in named]}
    job_request = as_generator_sees(body | ({} if mask is None else {"mask": _image(mask)}))
    return ProviderRequest(
        call_id="call_1",
        idempotency_key="call_1",
        model=golden.entry["models"][0]["name"],
        count=body.get("n", 1),
        request=job_request,
        seed=job_request.seed,
        inputs=tuple(_IMAGES[name] for name in [*named, *([] if mask is None else [mask])]),
    )


def _image(name: str) -> dict[str, str]:
    kind = "jpeg" if name == "jpeg" else "png"
    return {"data": base64.b64encode(_IMAGES[name]).decode(), "content_type": f"image/{kind}"}


def script_of(golden: Golden, name: str, url: str) -> list[tuple[str, str, ScriptedResponse]]:
    """Returns method, path and response of every step of a case, for a server at `url`."""
    steps = _at(golden.cases[name]["steps"], url)
    return [(step["request"]["method"], step["request"]["path"], _response(step["answer"])) for step in steps]


async def play(
    golden: Golden, name: str, *, first: ScriptedResponse | None = None, resumes: bool = False
) -> dict[str, Any]:
    """Plays a case and returns its result; `first` replaces the first response and ends the case.

    `resumes`: the process that submits ends, and another follows the operation by its state in the ledger.

    Raises `AssertionError` for a request that is not exactly the golden's.
    """
    case = golden.cases[name]
    async with scripted_server() as server:
        steps = _at(case["steps"], server.url)[: 1 if first else None]
        for step in steps:
            server.expect(step["request"]["method"], step["request"]["path"], first or _response(step["answer"]))
        provider = provider_of(golden, server.url)
        try:
            async with asyncio.timeout(PATIENCE):
                order = order_of(golden, case)
                if resumes:
                    came_to = await _resumed(provider, provider_of(golden, server.url), order)
                else:
                    came_to = await _carried_out(provider, order, cancels=case.get("cancels", False))
        finally:
            await provider.close()
        # Before the bodies: a request that the script refused is reported first.
        server.verify()
        _compare(server, steps)
        ending: dict[str, Any] = _replaced(came_to, {server.url: "{url}"})
        return ending


async def check(golden: Golden, name: str) -> None:
    """Fails unless the result of a case is exactly that of the golden."""
    compare(golden, name, await play(golden, name))


def compare(golden: Golden, name: str, came_to: Mapping[str, Any]) -> None:
    """Fails unless the result is that of the golden."""
    expected = golden.cases[name]["comes_to"]
    assert came_to == expected, f"{golden.kind}, {name}: it came to {came_to} instead of {expected}"


async def failure_by(golden: Golden, transport: httpx.AsyncBaseTransport) -> ProviderError:
    """How the good call fails over a transport."""
    provider = provider_of(golden, "http://vendor.test", transport)
    try:
        await provider.submit(order_of(golden, golden.cases["good"]))
    except ProviderError as error:
        return error
    finally:
        await provider.close()
    raise AssertionError("the call went well")


async def _resumed(first: DescribedProvider, second: DescribedProvider, order: ProviderRequest) -> dict[str, Any]:
    operation = await first.submit(order)
    assert isinstance(operation, Operation), "only an operation can be resumed"
    state = {str(name): str(value) for name, value in json.loads(json.dumps(dict(operation.state))).items()}
    try:
        while not isinstance(seen := await second.poll(Operation(id=operation.id, state=state)), Generated):
            pass
    finally:
        await second.close()
    return _made(seen)


async def _carried_out(provider: DescribedProvider, order: ProviderRequest, *, cancels: bool) -> dict[str, Any]:
    try:
        result = await provider.submit(order)
        if isinstance(result, Operation) and cancels:
            return {"cancel": str(await provider.cancel(result))}
        if cancels:
            return {"cancel": str(await provider.cancel(Operation(id="none")))}
        while isinstance(result, Operation):
            polled = await provider.poll(result)
            if isinstance(polled, Generated):
                result = polled
    except ProviderError as error:
        return _error_fields(error)
    return _made(result)


def _made(result: Generated) -> dict[str, Any]:
    return {"images": [_bare(asdict(image)) for image in result.images], "cost_micros": result.cost_micros}


def _error_fields(error: ProviderError) -> dict[str, Any]:
    fields = {
        "code": error.code,
        "reason": error.reason,
        "retryable": error.retryable,
        "acceptance": str(error.acceptance),
        "retry_after_seconds": error.retry_after_seconds,
        "vendor_code": error.vendor.code,
        "request_id": error.vendor.request_id,
    }
    assert KEY not in f"{error!r} {error}"
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _bare(image: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in image.items() if value is not None}


def _compare(server: ScriptedServer, steps: list[Any]) -> None:
    for request, step in zip(server.requests, steps, strict=True):
        expected = step["request"]
        headers = {name: value for name, value in request.headers.items() if name not in _OWN and (name, value) != _ANY}
        body = _body(request)
        if "form" in expected:
            headers["content-type"] = headers["content-type"].partition(";")[0]
        expected_headers = {str(name).lower(): str(value) for name, value in expected.get("headers", {}).items()}
        assert headers == expected_headers, f"{request.path}: headers are {headers} instead of {expected_headers}"
        expected_body = expected.get("form", expected.get("body"))
        assert body == expected_body, f"{request.path}: body is {body} instead of {expected_body}"


def _body(request: Request) -> Any:
    kind = request.headers.get("content-type", "")
    return form_of(kind, request.body) if kind.startswith("multipart/") else request.json


def _response(step: Mapping[str, Any]) -> ScriptedResponse:
    response = ScriptedResponse(status=step["status"], headers=step.get("headers", {}), body=step.get("body", b""))
    return replace(response, manner=Manner[step["manner"].upper()]) if "manner" in step else response


def _at(value: Any, url: str) -> Any:
    """Returns the golden with the server's address and the key filled in."""
    return _replaced(value, {"{url}": url, "{key}": KEY})


def _replaced(template: Any, replacements: Mapping[str, str]) -> Any:
    if isinstance(template, dict):
        return {name: _replaced(value, replacements) for name, value in template.items()}
    if isinstance(template, list):
        return [_replaced(item, replacements) for item in template]
    if isinstance(template, str):
        for old, new in replacements.items():
            template = template.replace(old, new)
    return template
