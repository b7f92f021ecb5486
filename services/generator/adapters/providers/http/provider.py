"""The base class of adapters that call an API over HTTP: entry, key, connections, and errors without a response."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.network.public_tls import public_tls
from services.generator.adapters.providers import input_images, option_messages
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.errors import no_response
from services.generator.adapters.providers.http.responses import MAX_BODY_BYTES, ProviderResponse, exchange
from services.generator.adapters.providers.http.websocket import messages
from services.generator.domain import untrusted_text
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import CancelOutcome, Generated, Operation, Pending
from services.generator.ports import ProviderRequest

CONNECT_SECONDS, RESPONSE_SECONDS = 10.0, 30.0


class RemoteProvider(ABC):
    """A provider that is called over HTTP; the key is sent only to `base_url`.

    A subclass has `traits`, `_capabilities` and `submit`. One with operations also overrides `poll`, `watch` and
    `cancel`; the methods here are those of an adapter without operations.
    """

    traits: Traits
    """What a call can do: whether it is free, idempotent, resumable or stoppable."""
    max_images_per_call: int
    """Most images of one call."""
    check_path: str | None = None
    """Path, relative to `base_url`, that `calotype providers check --live` requests: free of charge, but with the key.
    None if the API has none."""

    def __init__(
        self,
        entry: RemoteEntry,
        *,
        base_url: str,
        credential: Mapping[str, str],
        api_key: str,
        transport: httpx.AsyncBaseTransport | None,
        response_seconds: float = RESPONSE_SECONDS,
    ) -> None:
        self.base_url = (entry.base_url or base_url).rstrip("/")
        parts = urlsplit(self.base_url)
        self.name = entry.name
        self.timeout_seconds = entry.timeout_seconds
        self.poll_interval_seconds = entry.poll_interval_seconds
        self.allow_private_addresses = entry.allow_private_addresses
        self.trusted_host: str | None = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
        self._remote_entry = entry
        self._credential = credential
        untrusted_text.register_secret(api_key)
        # Every request that may be charged has a new connection: on a reused one that the other side is just closing,
        # it would be unknown whether the request arrived.
        self._paid_client = _client(credential, transport, kept_alive=0, response_seconds=response_seconds)
        self._free_client = _client(credential, transport, kept_alive=20, response_seconds=RESPONSE_SECONDS)
        self._keyless_client = _client({}, transport, kept_alive=0, response_seconds=RESPONSE_SECONDS)

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """Returns the provider's entry in the catalogue."""
        entry = self._remote_entry
        offers = provider_pb2.Capabilities(
            max_images_per_call=self.max_images_per_call,
            resumable=self.traits.resumable,
            idempotent=self.traits.idempotent,
            free=self.traits.free,
        )
        offers.MergeFrom(self._capabilities())
        return provider_pb2.Provider(
            name=self.name,
            kind=entry.kind,
            is_default=is_default,
            default_model=entry.model,
            models=[
                provider_pb2.Model(name=name, price_micros_per_image=entry.price_of(name)) for name in entry.model_names
            ],
            capabilities=offers,
            max_concurrency=entry.max_concurrency,
            requests_per_minute=entry.requests_per_minute,
            timeout_seconds=int(self.timeout_seconds),
            option_rules=option_messages.of_entry(entry),
            aliases=entry.aliases,
        )

    def images_per_call(self, model: str) -> int:
        """Returns the most images of one call; the same for every model."""
        return self.max_images_per_call

    def mask_form(self, model: str) -> MaskForm:
        """Returns the form of masks: by default a grey image, white in the area to edit."""
        return MaskForm.WHITE

    @abstractmethod
    async def submit(self, provider_request: ProviderRequest) -> Generated | Operation:
        """Sends the request that may be charged. Raises `ProviderError`."""

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Is never called without operations."""
        raise AssertionError(f"{self.name} has no operations")

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Returns False: there is no stream of progress."""
        return False

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """Returns UNSUPPORTED: the API cannot stop a call."""
        return CancelOutcome.UNSUPPORTED

    async def send_check(self, url: str) -> ProviderResponse:
        """Returns the response to the request of a live check. Raises `ProviderError` without a response."""
        return await self._send_free("GET", url)

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Returns the headers for fetching a result: none, except where the API's reference requires the key."""
        return {}

    def price(self, model: str, count: int) -> int | None:
        """Returns the price of `count` images by the provider file, in millionths of a US dollar; None without one."""
        return self._price(model, count)

    async def close(self) -> None:
        """Closes the connections."""
        await self._paid_client.aclose()
        await self._free_client.aclose()
        await self._keyless_client.aclose()

    @abstractmethod
    def _capabilities(self) -> provider_pb2.Capabilities:
        """Returns what the models support, without traits and the number of images per call."""

    async def _send_paid(
        self, method: str, url: str, *, limit: int = MAX_BODY_BYTES, **request: Any
    ) -> ProviderResponse:
        """Sends a request that may be charged, once. Raises `ProviderError` without a whole response."""
        try:
            response = await exchange(self._paid_client, method, url, limit=limit, **request)
        except httpx.RequestError as error:
            raise no_response(self.name, error) from error
        broken = _interruption(response)
        if broken is not None:
            lost = no_response(self.name, broken)
            # The part that arrived may hold an image.
            lost.vendor = response.evidence(message=lost.vendor.message)
            raise lost from broken
        return replace(response, is_not_charged=self._remote_entry.is_not_charged(response.status_code))

    async def _send_free(
        self, method: str, url: str, *, limit: int = MAX_BODY_BYTES, **request: Any
    ) -> ProviderResponse:
        """Sends a request that is not charged, such as a poll. Raises `ProviderError` without a whole response."""
        try:
            response = await exchange(self._free_client, method, url, limit=limit, **request)
            if (broken := _interruption(response)) is not None:
                raise broken
        except httpx.RequestError as error:
            raise operation_errors.status_unknown(self.name, type(error).__name__) from error
        return response

    async def _send_without_key(self, method: str, url: str, **request: Any) -> ProviderResponse:
        """Sends a request without the key, such as an upload to storage. Raises `ProviderError` without a response."""
        try:
            response = await exchange(self._keyless_client, method, url, **request)
        except httpx.RequestError as error:
            raise no_response(self.name, error) from error
        if (broken := _interruption(response)) is not None:
            raise no_response(self.name, broken) from broken
        return response

    def _listen(self, url: str) -> AsyncGenerator[Any, None]:
        """Yields the messages of a websocket of the API; ends when the connection does."""
        return messages(url, headers=self._credential, tls=public_tls())

    def _key_for_own(self, url: str) -> Mapping[str, str]:
        """Returns the headers with the key for a URL of the API itself, else none."""
        return self._credential if self._own(url, instead="") else {}

    def _own(self, url: str, *, instead: str) -> str:
        """Returns `url` if its host is that of `base_url`, because the key goes nowhere else; otherwise `instead`."""
        try:
            target, own = httpx.URL(url), httpx.URL(self.base_url)
        except (httpx.InvalidURL, ValueError):
            return instead
        # A name and password in the URL would be sent in place of the key.
        same = (target.scheme, target.netloc, target.userinfo) == (own.scheme, own.netloc, b"")
        return url if same else instead

    def _price(self, model: str, count: int) -> int | None:
        price = self._remote_entry.price_of(model)
        return None if price is None else price * count


def _interruption(response: ProviderResponse) -> httpx.RequestError | None:
    """Returns the error that cut a success short, if the part that arrived is neither JSON nor an image.

    An error response needs only its status. Whether an image is whole, the decoder checks.
    """
    # A whole response is not parsed here: its images can be 90 MB of JSON.
    if response.broken is None or response.status_code >= 300 or response.json() is not None:
        return None
    is_image = input_images.content_type(response.content) != input_images.UNKNOWN
    return None if is_image else response.broken


def _client(
    credential: Mapping[str, str],
    transport: httpx.AsyncBaseTransport | None,
    *,
    kept_alive: int,
    response_seconds: float,
) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=kept_alive)
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(verify=public_tls(), retries=0, limits=limits, trust_env=False),
        verify=public_tls(),
        headers={**credential, "User-Agent": "calotype"},
        timeout=httpx.Timeout(response_seconds, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )
