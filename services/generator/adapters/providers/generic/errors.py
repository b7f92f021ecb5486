"""Classifies error responses as the settings describe: by code, by text, by status.

A request may have been carried out unless the settings, or HTTP itself, say that it was not.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.generic import dotted_paths
from services.generator.adapters.providers.generic.entry import GenericSettings
from services.generator.adapters.providers.http.error_messages import is_passing, is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, NEVER_CARRIED_OUT, Rule, classify
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError

#: Our code and reason, and whether another try may succeed, by the meaning in the settings.
MEANINGS: Mapping[str, tuple[Code, Reason, bool]] = {
    "refused": (Code.PERMANENT, Reason.CONTENT_POLICY, False),
    "invalid": (Code.PERMANENT, Reason.INVALID_INPUT, False),
    "auth": (Code.AUTH_ERROR, Reason.PROVIDER_AUTH, False),
    "quota": (Code.PERMANENT, Reason.QUOTA_EXHAUSTED, False),
    "rate_limit": (Code.RATE_LIMIT, Reason.PROVIDER_RATE_LIMIT, True),
    "unavailable": (Code.TEMPORARY, Reason.PROVIDER_UNAVAILABLE, True),
    "rejected": (Code.PERMANENT, Reason.PROVIDER_REJECTED, False),
}
_BY_STATUS = {
    400: "invalid",
    401: "auth",
    403: "auth",
    404: "rejected",
    413: "invalid",
    422: "invalid",
    429: "rate_limit",
}
#: By their definitions (RFC 9110, 6585) nothing was carried out: no valid credential, too many requests.
_NOT_APPLIED = frozenset({401, 429, *(rule.status for rule in NEVER_CARRIED_OUT)})


class ErrorMap:
    """Classifies the errors of one provider as its settings describe them."""

    def __init__(self, name: str, settings: GenericSettings) -> None:
        self._name = name
        self._settings = settings.errors
        self._rules = (
            *(_rule(meaning, vendor_code=code) for code, meaning in self._settings.means.items()),
            *(_rule(meaning, words=_says(phrase)) for phrase, meaning in self._settings.phrases.items()),
            *(_rule("refused", status=status, words=is_refusal) for status in (400, 403, 422)),
            *(_rule(meaning, status=status) for status, meaning in _BY_STATUS.items()),
        )

    def refusal(self, response: ProviderResponse) -> ProviderError:
        """Returns the error of a response to a submission that has neither an operation nor an image."""
        codes = self._codes(response, response.json())
        body = next((code for code in codes if code in self._settings.means), next(iter(codes), ""))
        error = classify(self._name, response, self._rules, vendor_code=body)
        never = response.status_code in _NOT_APPLIED or not set(codes).isdisjoint(self._settings.not_accepted)
        if never and error.acceptance is Acceptance.UNKNOWN:
            error.acceptance = Acceptance.NOT_ACCEPTED
        return error

    def is_failure(self, response: ProviderResponse, body: Mapping[str, Any]) -> bool:
        """Returns whether a 2xx response has an error code that the settings name."""
        error_codes = {*self._settings.means, *self._settings.not_accepted}
        return any(code in error_codes for code in self._codes(response, body))

    def failure(
        self, response: ProviderResponse, body: Mapping[str, Any], *, ended: str, request_id: str
    ) -> ProviderError:
        """Returns the error of a failed operation, by its code, else by its text; temporary failures first."""
        codes = self._codes(response, body)
        known = next((code for code in codes if code in self._settings.means), None)
        sentence = next(self._sentences(body), "")
        phrase = next((item for item in self._settings.phrases if _says(item)(sentence)), None)
        if known is not None:
            meaning: str = self._settings.means[known]
        elif phrase is not None:
            meaning = self._settings.phrases[phrase]
        elif is_passing(sentence):
            meaning = "unavailable"
        else:
            meaning = "refused" if is_refusal(sentence) else "rejected"
        vendor_code = known or next(iter(codes), ended)
        return self._ended(response, meaning, code=vendor_code, message=sentence or None, request_id=request_id)

    def refused(self, response: ProviderResponse, *, ended: str, request_id: str) -> ProviderError:
        """Returns the error of a request or result that the content policy forbids."""
        return self._ended(response, "refused", code=ended, message=None, request_id=request_id)

    def no_image(self, response: ProviderResponse, what: str, *, request_id: str = "") -> ProviderError:
        """Returns the error of a success without images; `what` describes the response."""
        return ProviderError(
            code=Code.UNKNOWN,
            reason=Reason.UNCLASSIFIED,
            message=f"{self._name} returned {what}.",
            retryable=False,
            acceptance=Acceptance.ACCEPTED,
            vendor=response.evidence(request_id=request_id or None),
        )

    def _ended(
        self, response: ProviderResponse, meaning: str, *, code: str, message: str | None, request_id: str
    ) -> ProviderError:
        kind, reason, retryable = MEANINGS[meaning]
        text = MESSAGES[reason] if reason != Reason.PROVIDER_REJECTED else "{name} could not generate this image."
        return ProviderError(
            code=kind,
            reason=reason,
            message=text.format(name=self._name),
            retryable=retryable,
            acceptance=Acceptance.ACCEPTED,
            vendor=response.evidence(code=code, message=message, request_id=request_id or None),
        )

    def _codes(self, response: ProviderResponse, body: Any) -> list[str]:
        """Returns the error codes in the body; a number that only repeats the status is left out."""
        values = (value for path in self._settings.code for value in dotted_paths.values_at(body, path))
        texts = [str(item) for item in values if type(item) in (str, int)]
        return [item for item in texts if item and item != str(response.status_code)]

    def _sentences(self, body: Any) -> Iterator[str]:
        values = (value for path in self._settings.message for value in dotted_paths.values_at(body, path))
        return (item for item in values if isinstance(item, str) and item)


def _says(phrase: str) -> Callable[[str], bool]:
    return lambda sentence: phrase.lower() in sentence.lower()


def _rule(meaning: str, **fits: Any) -> Rule:
    code, reason, retryable = MEANINGS[meaning]
    # A refused request was accepted and judged; after any other error that is unknown.
    acceptance = Acceptance.ACCEPTED if meaning == "refused" else Acceptance.UNKNOWN
    return Rule(code=code, reason=reason, retryable=retryable, acceptance=acceptance, **fits)
