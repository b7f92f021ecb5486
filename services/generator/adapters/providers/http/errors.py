"""What HTTP adapters share: one request with a bounded answer, and the error that an answer, or its lack, means."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from services.generator.adapters.network import retry_after as waiting
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_CODE_FIELDS = ("title", "code", "type", "name")
_WRAPPING_FIELDS = ("innererror", "inner_error", "provider_specific_fields", "metadata", "details")
MESSAGES = {
    "PROVIDER_AUTH": "{name} refuses the credential that is configured for it.",
    "QUOTA_EXHAUSTED": "The account at {name} is out of credit.",
    "PROVIDER_REJECTED": "{name} does not know the model or the address that is configured.",
    "INVALID_INPUT": "{name} does not accept a field of this request.",
    "PROVIDER_RATE_LIMIT": "{name} asks to slow down.",
    "PROVIDER_TIMEOUT": "{name} did not finish in its own time.",
    "PROVIDER_UNAVAILABLE": "{name} could not finish this time.",
    "CONTENT_POLICY": "{name} refused this request by its content policy.",
}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What an answer means, by the vendor's own code, its words, a header and the status.

    What a rule leaves out may be anything. `header` is a name in small letters and its value; `words` looks at the
    body's text, where a code is not reliable.
    """

    code: str
    reason: str
    status: int | None = None
    vendor_code: str | None = None
    words: Callable[[str], bool] | None = None
    header: tuple[str, str] | None = None
    retryable: bool = False
    acceptance: Acceptance = Acceptance.NOT_ACCEPTED

    def fits(self, answer: Answer, vendor_codes: Collection[str]) -> bool:
        """Whether an answer is of this kind."""
        told = self.header is None or answer.headers.get(self.header[0], "").lower() == self.header[1].lower()
        known = self.vendor_code is None or self.vendor_code in vendor_codes
        said = self.words is None or self.words(answer.text)
        return told and known and said and self.status in (None, answer.status_code)


#: After a kind's own rules: by their definition in HTTP (RFC 9110, 6585) these say that nothing was carried out. Most
#: often `base_url` is not the API's: http for https, a folder that is missing, the address of a page.
NEVER_CARRIED_OUT = (
    Rule(status=402, code="PERMANENT", reason="QUOTA_EXHAUSTED"),
    *(
        Rule(status=status, code="PERMANENT", reason="PROVIDER_REJECTED")
        for status in (*range(300, 309), 405, 406, 411, 412, 414, 415, 417, 426, 428, 431, 501, 505)
    ),
)
_WRONG_ADDRESS = frozenset({301, 302, 303, 307, 308, 405, 501})


def classify(
    name: str,
    answer: Answer,
    rules: Iterable[Rule],
    *,
    vendor_code: str | None = None,
    retry_after: float | None = None,
) -> ProviderError:
    """The error of an answer. What no rule knows may have been carried out, and is not repeated.

    `vendor_code` and `retry_after` (seconds) are for vendors who tell them in a way of their own.
    """
    codes = vendor_codes(answer) if vendor_code is None else (vendor_code,)
    vendor = answer.evidence(code=next(iter(codes), ""))
    rule = next((one for one in (*rules, *NEVER_CARRIED_OUT) if one.fits(answer, codes)), None)
    if rule is not None:
        message = MESSAGES[rule.reason].format(name=name)
        if rule.reason == "PROVIDER_REJECTED" and answer.status_code in _WRONG_ADDRESS:
            message = f"{name} answers with status {answer.status_code}: look whether base_url is the API's address."
        return ProviderError(
            code=rule.code,
            reason=rule.reason,
            message=message,
            retryable=rule.retryable,
            retry_after_seconds=retry_after if retry_after is not None else waiting.seconds(answer.headers),
            acceptance=_as_billed(rule.acceptance, answer),
            vendor=vendor,
        )
    faulty = answer.status_code >= 500
    return ProviderError(
        code="TEMPORARY" if faulty else "UNKNOWN",
        reason="PROVIDER_UNAVAILABLE" if faulty else "UNCLASSIFIED",
        message=f"{name} answered with status {answer.status_code}.",
        retryable=faulty,
        retry_after_seconds=waiting.seconds(answer.headers) if faulty else None,
        acceptance=_as_billed(Acceptance.UNKNOWN, answer),
        vendor=vendor,
    )


def _as_billed(acceptance: Acceptance, answer: Answer) -> Acceptance:
    """What is not known of an answer, the operator may know."""
    return Acceptance.NOT_ACCEPTED if acceptance is Acceptance.UNKNOWN and answer.is_not_charged else acceptance


def lost_answer(name: str, error: httpx.RequestError) -> ProviderError:
    """No answer came: a refused connection surely sent nothing, anything later nobody knows."""
    unsent = isinstance(error, _UNSENT)
    timed_out = isinstance(error, httpx.TimeoutException) and not unsent
    return ProviderError(
        code="TIMEOUT" if timed_out else "TEMPORARY",
        reason="PROVIDER_TIMEOUT" if timed_out else "PROVIDER_UNAVAILABLE",
        message=f"{name} could not be reached." if unsent else f"{name} took the request and did not answer.",
        retryable=True,
        acceptance=Acceptance.NOT_ACCEPTED if unsent else Acceptance.UNKNOWN,
        vendor=VendorError(message=type(error).__name__),
    )


def read_json(name: str, answer: Answer) -> Mapping[str, Any]:
    """The answer's object. Raises `ProviderError`: it may have been carried out, whatever it says."""
    body = answer.json()
    if not isinstance(body, dict):
        raise ProviderError(
            code="UNKNOWN",
            reason="UNCLASSIFIED",
            message=f"{name} answered with something that is not its own format.",
            retryable=False,
            acceptance=Acceptance.UNKNOWN,
            vendor=answer.evidence(),
        )
    return body


def vendor_codes(answer: Answer) -> tuple[str, ...]:
    """What the body calls the error, the most telling first: at the top, in an object `error`, or in what that wraps.

    A number that only repeats the status is none.
    """
    body = answer.json()
    if not isinstance(body, dict):
        return ()
    told = body["error"] if isinstance(body.get("error"), dict) else body
    names = [named for one in _wrapped(told) for named in (one.get(field) for field in _CODE_FIELDS)]
    texts = [str(named) for named in names if isinstance(named, str | int) and not isinstance(named, bool)]
    return tuple(one for one in texts if one and one != str(answer.status_code))


def _wrapped(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """An error, and those that it wraps: relays pass on what they were told."""
    yield told
    for field in _WRAPPING_FIELDS:
        inner = told.get(field)
        if isinstance(inner, dict):
            yield from _wrapped(inner)
