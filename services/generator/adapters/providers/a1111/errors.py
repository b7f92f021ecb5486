"""Classifies responses of AUTOMATIC1111, Forge and SD.Next that have no image: exactly one error each."""

import re
from collections.abc import Callable
from typing import Any

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.http.error_messages import is_passing, is_refusal
from services.generator.adapters.providers.http.errors import Rule, classify
from services.generator.adapters.providers.http.responses import ProviderResponse
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError


def _says(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.search(pattern, text, re.IGNORECASE) is not None


#: By `modules/api/api.py` of each server, an HTTPException has a status and `detail`; any other exception is a 500 with
#: its class as `error` and its text as `errors`. The servers have no credit, limit or policy; a proxy may.
RULES = (
    Rule(
        status=500, words=_says("Invalid (?:encoded image|image url)"), code=Code.PERMANENT, reason=Reason.INVALID_INPUT
    ),
    Rule(status=500, words=_says("model [^{}]{1,300} not found"), code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(
        status=500,
        words=is_passing,
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    ),
    Rule(
        status=500,
        words=_says(r'"errors":\s*"'),
        code=Code.PERMANENT,
        reason=Reason.PROVIDER_REJECTED,
        acceptance=Acceptance.ACCEPTED,
    ),
    *(
        Rule(
            status=status,
            words=_says("(?:Sampler|Script .{0,200}) not found"),
            code=Code.PERMANENT,
            reason=Reason.INVALID_INPUT,
        )
        for status in (400, 404)
    ),
    *(
        Rule(status=status, words=is_refusal, code=Code.PERMANENT, reason=Reason.CONTENT_POLICY)
        for status in (400, 403)
    ),
    Rule(status=400, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=401, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=403, code=Code.AUTH_ERROR, reason=Reason.PROVIDER_AUTH),
    Rule(status=404, code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED),
    Rule(status=413, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=422, code=Code.PERMANENT, reason=Reason.INVALID_INPUT),
    Rule(status=429, code=Code.RATE_LIMIT, reason=Reason.PROVIDER_RATE_LIMIT, retryable=True),
)
_MESSAGES = {
    (
        404,
        Reason.PROVIDER_REJECTED,
    ): "{name} has no such API or checkpoint: start the server with --api, and check base_url.",
    (500, Reason.PROVIDER_REJECTED): "{name} could not draw this; the attempt has the server's error message.",
}


def refusal_of(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a response that is no success."""
    body = response.json()
    kind = body.get("error") if isinstance(body, dict) else None
    error = classify(name, response, RULES, vendor_code=kind if isinstance(kind, str) else "")
    own = _MESSAGES.get((response.status_code, error.reason)) if error.acceptance is not Acceptance.UNKNOWN else None
    error.message = own.format(name=name) if own else error.message
    return error


def no_image(name: str, response: ProviderResponse) -> ProviderError:
    """Returns the error of a success without images."""
    return ProviderError(
        code=Code.UNKNOWN,
        reason=Reason.UNCLASSIFIED,
        message=f"{name} returned a success without an image.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=response.evidence(),
    )


def other_checkpoint(name: str, *, wanted: str, drawn: Any) -> ProviderError:
    """Returns the error of an image drawn with the loaded checkpoint, because the server lacks the requested one."""
    return ProviderError(
        code=Code.PERMANENT,
        reason=Reason.PROVIDER_REJECTED,
        message=f"{name} does not have the checkpoint {wanted[:100]!r} and drew with another.",
        retryable=False,
        acceptance=Acceptance.ACCEPTED,
        vendor=VendorError(http_status=200, message=f"sd_model_name is {str(drawn)[:200]}"),
    )
