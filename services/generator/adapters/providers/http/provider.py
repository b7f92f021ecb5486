"""What adapters behind HTTP share: their entry, key and connections, and the errors of an answer that never came."""

import functools
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx
from calotype.provider.v1 import provider_pb2

from services.generator.adapters.providers import input_images, option_messages
from services.generator.adapters.providers.entry import RemoteEntry
from services.generator.adapters.providers.http import operation_errors
from services.generator.adapters.providers.http.errors import lost_answer
from services.generator.adapters.providers.http.responses import MOST_BODY, Answer, exchange
from services.generator.adapters.providers.http.websocket import messages
from services.generator.domain import foreign_text
from services.generator.domain.earlier_calls import Traits
from services.generator.domain.jobs import MaskForm
from services.generator.domain.provider_results import CancelOutcome, Generated, Operation, Pending
from services.generator.ports import Order

CONNECT_SECONDS, ANSWER_SECONDS = 10.0, 30.0


class RemoteProvider(ABC):
    """A provider behind HTTP. `credential` are the headers that carry the key; they are sent to `base_url` alone.

    An adapter says what it is (`traits`, `_capabilities`) and how it submits. One with operations says how it looks at
    them; the methods here are those of one without.
    """

    traits: Traits
    max_images_per_call: int
    #: What `calotype providers check --live` asks, relative to `base_url`: costs nothing, and needs the key.
    free_question: str | None = None

    def __init__(
        self,
        entry: RemoteEntry,
        *,
        base_url: str,
        credential: Mapping[str, str],
        api_key: str,
        transport: httpx.AsyncBaseTransport | None,
        answer_seconds: float = ANSWER_SECONDS,
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
        foreign_text.keep_secret(api_key)
        # A connection that the other side has just closed makes a purchase ambiguous: each has a fresh one.
        self._buying = _client(credential, transport, kept_alive=0, answer_seconds=answer_seconds)
        self._asking = _client(credential, transport, kept_alive=20, answer_seconds=ANSWER_SECONDS)
        self._giving = _client({}, transport, kept_alive=0, answer_seconds=ANSWER_SECONDS)

    def describe(self, *, is_default: bool) -> provider_pb2.Provider:
        """The entry of the catalogue."""
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
        )

    def images_per_call(self, model: str) -> int:
        """The same for every model."""
        return self.max_images_per_call

    def mask_form(self, model: str) -> MaskForm:
        """A grey image, as most read it."""
        return MaskForm.WHITE

    @abstractmethod
    async def submit(self, order: Order) -> Generated | Operation:
        """Send the request."""

    async def poll(self, operation: Operation) -> Generated | Pending:
        """Never asked of a provider without operations."""
        raise AssertionError(f"{self.name} has no operations")

    async def watch(self, operation: Operation, report: Callable[[float], None]) -> bool:
        """Nothing is told but what is asked for."""
        return False

    async def cancel(self, operation: Operation) -> CancelOutcome:
        """There is nothing by which a call could be stopped."""
        return CancelOutcome.UNSUPPORTED

    async def ask_freely(self, url: str) -> Answer:
        """The answer to a question that costs nothing. Raises `ProviderError` when none comes."""
        return await self._ask("GET", url)

    def credential_for(self, url: str) -> Mapping[str, str]:
        """Results are fetched without a key, but where a vendor's reference wants it for its own."""
        return {}

    def price(self, model: str, count: int) -> int | None:
        """What so many images cost by the provider file."""
        return self._price(model, count)

    async def close(self) -> None:
        """Let go of connections."""
        await self._buying.aclose()
        await self._asking.aclose()
        await self._giving.aclose()

    @abstractmethod
    def _capabilities(self) -> provider_pb2.Capabilities:
        """What the models take; traits and the number of images per call need not be said."""

    async def _buy(self, method: str, url: str, *, most: int = MOST_BODY, **request: Any) -> Answer:
        """Send a request that may cost money, once. Raises `ProviderError` when no answer comes."""
        try:
            answer = await exchange(self._buying, method, url, most=most, **request)
        except httpx.RequestError as error:
            raise lost_answer(self.name, error) from error
        broken = _what_broke(answer)
        if broken is not None:
            lost = lost_answer(self.name, broken)
            # What came of it may hold an image.
            lost.vendor = answer.evidence(message=lost.vendor.message)
            raise lost from broken
        return replace(answer, is_not_charged=self._remote_entry.is_not_charged(answer.status_code))

    async def _ask(self, method: str, url: str, *, most: int = MOST_BODY, **request: Any) -> Answer:
        """Ask about an operation. Raises `ProviderError` when no answer comes; the operation goes on all the same."""
        try:
            answer = await exchange(self._asking, method, url, most=most, **request)
            if (broken := _what_broke(answer)) is not None:
                raise broken
        except httpx.RequestError as error:
            raise operation_errors.not_told(self.name, type(error).__name__) from error
        return answer

    async def _give(self, method: str, url: str, **request: Any) -> Answer:
        """Send without the key what a vendor's answer asked for. Raises `ProviderError` when no answer comes."""
        try:
            answer = await exchange(self._giving, method, url, **request)
        except httpx.RequestError as error:
            raise lost_answer(self.name, error) from error
        if (broken := _what_broke(answer)) is not None:
            raise lost_answer(self.name, broken) from broken
        return answer

    def _listen(self, url: str) -> AsyncGenerator[Any, None]:
        """What a websocket of the API's own tells; nothing more, once it cannot be heard."""
        return messages(url, headers=self._credential, tls=_tls())

    def _key_for_own(self, url: str) -> Mapping[str, str]:
        """The headers with the key, for an address of the API's own."""
        return self._credential if self._own(url, instead="") else {}

    def _own(self, url: str, *, instead: str) -> str:
        """The address that an answer named, if it is the API's own: the key goes nowhere else."""
        try:
            named, own = httpx.URL(url), httpx.URL(self.base_url)
        except (httpx.InvalidURL, ValueError):
            return instead
        # A name and password in it would be sent in place of the key.
        same = (named.scheme, named.netloc, named.userinfo) == (own.scheme, own.netloc, b"")
        return url if same else instead

    def _price(self, model: str, count: int) -> int | None:
        """What so many images cost by the provider file."""
        price = self._remote_entry.price_of(model)
        return None if price is None else price * count


def _what_broke(answer: Answer) -> httpx.RequestError | None:
    """What broke an answer that does not say all that it has to: a refusal by its status, a success by its body.

    Whether an image is whole, whoever decodes it sees.
    """
    is_image = input_images.content_type(answer.content) != input_images.UNKNOWN
    return answer.broken if answer.status_code < 300 and answer.json() is None and not is_image else None


@functools.cache
def _tls() -> ssl.SSLContext:
    """Whom to believe; read once, for that takes longer than to draw a picture."""
    return httpx.create_ssl_context(trust_env=False)


def _client(
    credential: Mapping[str, str],
    transport: httpx.AsyncBaseTransport | None,
    *,
    kept_alive: int,
    answer_seconds: float,
) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=kept_alive)
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(verify=_tls(), retries=0, limits=limits, trust_env=False),
        verify=_tls(),
        headers={**credential, "User-Agent": "calotype"},
        timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
    )
