"""What answers mean that settings describe: by the codes that they name, by words, by the status.

What settings, or HTTP itself, do not say to have carried nothing out may have been carried out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from services.generator.adapters.providers.generic import dotted_paths
from services.generator.adapters.providers.generic.entry import GenericSettings
from services.generator.adapters.providers.http.error_words import is_passing, is_refusal
from services.generator.adapters.providers.http.errors import MESSAGES, NEVER_CARRIED_OUT, Rule, classify
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError

#: Code, reason, and whether another try may go better.
MEANINGS: Mapping[str, tuple[str, str, bool]] = {
    "refused": ("PERMANENT", "CONTENT_POLICY", False),
    "invalid": ("PERMANENT", "INVALID_INPUT", False),
    "auth": ("AUTH_ERROR", "PROVIDER_AUTH", False),
    "quota": ("PERMANENT", "QUOTA_EXHAUSTED", False),
    "rate_limit": ("RATE_LIMIT", "PROVIDER_RATE_LIMIT", True),
    "unavailable": ("TEMPORARY", "PROVIDER_UNAVAILABLE", True),
    "rejected": ("PERMANENT", "PROVIDER_REJECTED", False),
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
#: By their definitions (RFC 9110, 6585) these were not applied: no valid credential, too many requests.
_NOT_APPLIED = frozenset({401, 429, *(rule.status for rule in NEVER_CARRIED_OUT)})


class ErrorMap:
    """The errors of one vendor, as its settings describe them."""

    def __init__(self, name: str, settings: GenericSettings) -> None:
        self._name = name
        self._settings = settings.errors
        self._rules = (
            *(_rule(meaning, vendor_code=code) for code, meaning in self._settings.means.items()),
            *(_rule(meaning, words=_says(phrase)) for phrase, meaning in self._settings.phrases.items()),
            *(_rule("refused", status=status, words=is_refusal) for status in (400, 403, 422)),
            *(_rule(meaning, status=status) for status, meaning in _BY_STATUS.items()),
        )

    def refusal(self, answer: Answer) -> ProviderError:
        """The error of an answer to a submission that names no operation and has no image."""
        codes = self._codes(answer, answer.json())
        told = next((code for code in codes if code in self._settings.means), next(iter(codes), ""))
        error = classify(self._name, answer, self._rules, vendor_code=told)
        never = answer.status_code in _NOT_APPLIED or not set(codes).isdisjoint(self._settings.not_accepted)
        if never and error.acceptance is Acceptance.UNKNOWN:
            error.acceptance = Acceptance.NOT_ACCEPTED
        return error

    def is_failure(self, answer: Answer, told: Mapping[str, Any]) -> bool:
        """Whether a success of HTTP says, by a code that the settings name, that it is none."""
        known = {*self._settings.means, *self._settings.not_accepted}
        return any(code in known for code in self._codes(answer, told))

    def failure(self, answer: Answer, told: Mapping[str, Any], *, ended: str, request_id: str) -> ProviderError:
        """Why an operation failed: by its code, else by its words; troubles that pass come first."""
        codes = self._codes(answer, told)
        known = next((code for code in codes if code in self._settings.means), None)
        sentence = next(self._sentences(told), "")
        phrase = next((one for one in self._settings.phrases if _says(one)(sentence)), None)
        if known is not None:
            meaning: str = self._settings.means[known]
        elif phrase is not None:
            meaning = self._settings.phrases[phrase]
        elif is_passing(sentence):
            meaning = "unavailable"
        else:
            meaning = "refused" if is_refusal(sentence) else "rejected"
        vendor_code = known or next(iter(codes), ended)
        return self._ended(answer, meaning, code=vendor_code, message=sentence or None, request_id=request_id)

    def refused(self, answer: Answer, *, ended: str, request_id: str) -> ProviderError:
        """What was made, or asked for, is against the policy."""
        return self._ended(answer, "refused", code=ended, message=None, request_id=request_id)

    def no_image(self, answer: Answer, what: str, *, request_id: str = "") -> ProviderError:
        """A success of which nothing can be had."""
        return ProviderError(
            code="UNKNOWN",
            reason="UNCLASSIFIED",
            message=f"{self._name} answered with {what}.",
            retryable=False,
            acceptance=Acceptance.ACCEPTED,
            vendor=answer.evidence(request_id=request_id or None),
        )

    def _ended(self, answer: Answer, meaning: str, *, code: str, message: str | None, request_id: str) -> ProviderError:
        kind, reason, retryable = MEANINGS[meaning]
        words = MESSAGES[reason] if reason != "PROVIDER_REJECTED" else "{name} could not make this picture."
        return ProviderError(
            code=kind,
            reason=reason,
            message=words.format(name=self._name),
            retryable=retryable,
            acceptance=Acceptance.ACCEPTED,
            vendor=answer.evidence(code=code, message=message, request_id=request_id or None),
        )

    def _codes(self, answer: Answer, told: Any) -> list[str]:
        """What the answer calls its failure; a number that only repeats the status is none."""
        values = (value for path in self._settings.code for value in dotted_paths.found(told, path))
        texts = [str(one) for one in values if type(one) in (str, int)]
        return [one for one in texts if one and one != str(answer.status_code)]

    def _sentences(self, told: Any) -> Iterator[str]:
        values = (value for path in self._settings.message for value in dotted_paths.found(told, path))
        return (one for one in values if isinstance(one, str) and one)


def _says(phrase: str) -> Callable[[str], bool]:
    return lambda sentence: phrase.lower() in sentence.lower()


def _rule(meaning: str, **fits: Any) -> Rule:
    code, reason, retryable = MEANINGS[meaning]
    # A refusal was taken and judged; of all else nothing is known.
    acceptance = Acceptance.ACCEPTED if meaning == "refused" else Acceptance.UNKNOWN
    return Rule(code=code, reason=reason, retryable=retryable, acceptance=acceptance, **fits)
