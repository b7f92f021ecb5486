"""What the answers of AUTOMATIC1111, Forge and SD.Next mean when they are not images: one classified error each."""

import re
from collections.abc import Callable
from typing import Any

from services.generator.adapters.providers.http.error_words import is_passing, is_refusal
from services.generator.adapters.providers.http.errors import Rule, classify
from services.generator.adapters.providers.http.responses import Answer
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError


def _says(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.search(pattern, text, re.IGNORECASE) is not None


#: `modules/api/api.py` of each: HTTPException by status and `detail`; any other exception is a 500 with its class as
#: `error` and its words as `errors`. The servers know no credit, no limit and no policy: those are a proxy's words.
RULES = (
    Rule(status=500, words=_says("Invalid (?:encoded image|image url)"), code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=500, words=_says("model [^{}]{1,300} not found"), code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(
        status=500,
        words=is_passing,
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    ),
    Rule(
        status=500,
        words=_says(r'"errors":\s*"'),
        code="PERMANENT",
        reason="PROVIDER_REJECTED",
        acceptance=Acceptance.ACCEPTED,
    ),
    *(
        Rule(
            status=status,
            words=_says("(?:Sampler|Script .{0,200}) not found"),
            code="PERMANENT",
            reason="INVALID_INPUT",
        )
        for status in (400, 404)
    ),
    *(Rule(status=status, words=is_refusal, code="PERMANENT", reason="CONTENT_POLICY") for status in (400, 403)),
    Rule(status=400, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=401, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=403, code="AUTH_ERROR", reason="PROVIDER_AUTH"),
    Rule(status=404, code="PERMANENT", reason="PROVIDER_REJECTED"),
    Rule(status=413, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=422, code="PERMANENT", reason="INVALID_INPUT"),
    Rule(status=429, code="RATE_LIMIT", reason="PROVIDER_RATE_LIMIT", retryable=True),
)
_MESSAGES = {
    (404, "PROVIDER_REJECTED"): "{name} knows no such API or checkpoint: start it with --api, and look at base_url.",
    (500, "PROVIDER_REJECTED"): "{name} could not draw this: its own words are with the attempt.",
}


def refusal_of(name: str, answer: Answer) -> ProviderError:
    """The error of an answer that is not a success."""
    told = answer.json()
    kind = told.get("error") if isinstance(told, dict) else None
    error = classify(name, answer, RULES, vendor_code=kind if isinstance(kind, str) else "")
    own = _MESSAGES.get((answer.status_code, error.reason)) if error.acceptance is not Acceptance.UNKNOWN else None
    error.message = own.format(name=name) if own else error.message
    return error


def no_image(name: str, answer: Answer) -> ProviderError:
    """A success that brought nothing."""
    return ProviderError(
        code="UNKNOWN",
        reason="UNCLASSIFIED",
        message=f"{name} answered with a success without images.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=answer.evidence(),
    )


def other_checkpoint(name: str, *, wanted: str, drawn: Any) -> ProviderError:
    """The server drew with what was loaded, for it does not know the checkpoint."""
    return ProviderError(
        code="PERMANENT",
        reason="PROVIDER_REJECTED",
        message=f"{name} does not know the checkpoint {wanted[:100]!r}, and drew with another one.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(http_status=200, message=f"sd_model_name is {str(drawn)[:200]}"),
    )
