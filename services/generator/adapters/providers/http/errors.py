"""Turns a provider's HTTP response, or the lack of a response, into one classified `ProviderError`."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from calotype.error_reasons import Code, Reason

from common.network import retry_after as waiting
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_CODE_FIELDS = ("title", "code", "type", "name")
_WRAPPING_FIELDS = ("innererror", "inner_error", "provider_specific_fields", "metadata", "details")
#: Messages for users, by reason; `{name}` is the provider's name.
MESSAGES = {
    Reason.PROVIDER_AUTH: "{name} refused the credential that is configured for it; the operator must check the key.",
    Reason.QUOTA_EXHAUSTED: "The account at {name} is out of credit.",
    Reason.PROVIDER_REJECTED: (
        "{name} does not know the configured model or address; the operator must check the entry."
    ),
    Reason.INVALID_INPUT: "{name} does not accept a field of this request.",
    Reason.PROVIDER_RATE_LIMIT: "{name} received too many requests and limits their rate.",
    Reason.PROVIDER_TIMEOUT: "{name} exceeded its own time limit.",
    Reason.PROVIDER_UNAVAILABLE: "{name} could not complete the request this time.",
    Reason.CONTENT_POLICY: "{name} refused this request by its content policy.",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a response means. A condition that is None matches every response."""

    code: Code
    """Our code of the error, such as PERMANENT."""
    reason: Reason
    """Our reason of the error, such as QUOTA_EXHAUSTED."""
    status: int | None = None
    """Condition: the HTTP status."""
    vendor_code: str | None = None
    """Condition: a code in the body, as the provider's API names its error."""
    words: Callable[[str], bool] | None = None
    """Condition on the body's text, for APIs whose codes are not reliable."""
    header: tuple[str, str] | None = None
    """Condition: a header's name in lower case, and its value in any case."""
    retryable: bool = False
    """Whether another try may succeed."""
    acceptance: Acceptance = Acceptance.NOT_ACCEPTED
    """Whether the provider accepted the request, and so may charge it."""

    def fits(self, response: ProviderResponse, vendor_codes: Collection[str]) -> bool:
        """Returns whether the response meets every condition."""
        has_header = self.header is None or response.headers.get(self.header[0], "").lower() == self.header[1].lower()
        has_code = self.vendor_code is None or self.vendor_code in vendor_codes
        has_text = self.words is None or self.words(response.text)
        return has_header and has_code and has_text and self.status in (None, response.status_code)


#: Used after a kind's own rules: by their definition in HTTP (RFC 9110, 6585) nothing was carried out. The usual cause
#: is a wrong `base_url`: http in place of https, a missing folder, the address of a web page.
NEVER_CARRIED_OUT = (
    Rule(status=402, code=Code.PERMANENT, reason=Reason.QUOTA_EXHAUSTED),
    *(
        Rule(status=status, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED)
        for status in (*range(300, 309), 405, 406, 411, 412, 414, 415, 417, 426, 428, 431, 501, 505)
    ),
)
_WRONG_ADDRESS = frozenset({301, 302, 303, 307, 308, 405, 501})


def classify(
    name: str,
    response: ProviderResponse,
    rules: Iterable[Rule],
    *,
    vendor_code: str | None = None,
    retry_after: float | None = None,
) -> ProviderError:
    """Returns the error of a response. A response that no rule fits may have been carried out and is not repeated.

    `vendor_code` and `retry_after` (seconds) are for APIs that have them in a place of their own; None reads the
    standard places.
    """
    codes = vendor_codes(response) if vendor_code is None else (vendor_code,)
    vendor = response.evidence(code=next(iter(codes), ""))
    rule = next((item for item in (*rules, *NEVER_CARRIED_OUT) if item.fits(response, codes)), None)
    if rule is not None:
        message = MESSAGES[rule.reason].format(name=name)
        if rule.reason == Reason.PROVIDER_REJECTED and response.status_code in _WRONG_ADDRESS:
            message = f"{name} returned status {response.status_code}: check that base_url is the API's address."
        return ProviderError(
            code=rule.code,
            reason=rule.reason,
            message=message,
            retryable=rule.retryable,
            retry_after_seconds=retry_after if retry_after is not None else waiting.seconds(response.headers),
            acceptance=_as_billed(rule.acceptance, response),
            vendor=vendor,
        )
    faulty = response.status_code >= 500
    return ProviderError(
        code=Code.TEMPORARY if faulty else Code.UNKNOWN,
        reason=Reason.PROVIDER_UNAVAILABLE if faulty else Reason.UNCLASSIFIED,
        message=f"{name} returned status {response.status_code}.",
        retryable=faulty,
        retry_after_seconds=waiting.seconds(response.headers) if faulty else None,
        acceptance=_as_billed(Acceptance.UNKNOWN, response),
        vendor=vendor,
    )


def _as_billed(acceptance: Acceptance, response: ProviderResponse) -> Acceptance:
    """Returns NOT_ACCEPTED for an unknown acceptance if the operator knows that the status is not charged."""
    return Acceptance.NOT_ACCEPTED if acceptance is Acceptance.UNKNOWN and response.is_not_charged else acceptance


def no_response(name: str, error: httpx.RequestError) -> ProviderError:
    """Returns the error of a request without a response: not accepted if no connection was made, else unknown."""
    unsent = isinstance(error, _UNSENT)
    timed_out = isinstance(error, httpx.TimeoutException) and not unsent
    return ProviderError(
        code=Code.TIMEOUT if timed_out else Code.TEMPORARY,
        reason=Reason.PROVIDER_TIMEOUT if timed_out else Reason.PROVIDER_UNAVAILABLE,
        message=f"{name} could not be reached." if unsent else f"{name} received the request and sent no response.",
        retryable=True,
        acceptance=Acceptance.NOT_ACCEPTED if unsent else Acceptance.UNKNOWN,
        vendor=VendorError(message=type(error).__name__),
    )


def read_json(name: str, response: ProviderResponse) -> Mapping[str, Any]:
    """Returns the response's JSON object. Raises `ProviderError` (outcome unknown) without one."""
    body = response.json()
    if not isinstance(body, dict):
        raise ProviderError(
            code=Code.UNKNOWN,
            reason=Reason.UNCLASSIFIED,
            message=f"{name} returned a response that is not in its API's format.",
            retryable=False,
            acceptance=Acceptance.UNKNOWN,
            vendor=response.evidence(),
        )
    return body


def vendor_codes(response: ProviderResponse) -> tuple[str, ...]:
    """Returns the error's codes in the body, the most specific first: at the top, in `error`, and in wrapped errors.

    A number that only repeats the status is left out.
    """
    body = response.json()
    if not isinstance(body, dict):
        return ()
    error = body["error"] if isinstance(body.get("error"), dict) else body
    names = [named for item in _wrapped(error) for named in (item.get(field) for field in _CODE_FIELDS)]
    texts = [str(named) for named in names if isinstance(named, str | int) and not isinstance(named, bool)]
    return tuple(item for item in texts if item and item != str(response.status_code))


def _wrapped(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yields an error and the errors that it wraps: relays pass on the error of the API behind them."""
    yield error
    for field in _WRAPPING_FIELDS:
        inner = error.get(field)
        if isinstance(inner, dict):
            yield from _wrapped(inner)
