"""Classifies the failures of a local pipeline: exactly one error each."""

from dataclasses import dataclass

from calotype.error_reasons import Code, Reason

from services.generator.adapters.providers.diffusers.pipeline_thread import (
    DiffusionFailed,
    DrawingStopped,
    Flagged,
    ModelUnusable,
    OutOfMemory,
    Unsupported,
)
from services.generator.domain.provider_results import Acceptance, ProviderError, VendorError


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The meaning of a failure."""

    code: Code
    """Our code of the error."""
    reason: Reason
    """Our reason of the error."""
    words: str
    """Message for users, after the provider's name."""
    retryable: bool = False
    """Whether another try may succeed."""
    acceptance: Acceptance = Acceptance.NOT_ACCEPTED
    """Whether the drawing began."""


#: Meanings by the failure's class. Any other exception is a defect.
MEANINGS: dict[type[DiffusionFailed], Meaning] = {
    OutOfMemory: Meaning(
        code=Code.TEMPORARY, reason=Reason.PROVIDER_UNAVAILABLE, words="has too little free memory now.", retryable=True
    ),
    ModelUnusable: Meaning(code=Code.PERMANENT, reason=Reason.PROVIDER_REJECTED, words="cannot load its model."),
    Unsupported: Meaning(code=Code.PERMANENT, reason=Reason.UNSUPPORTED, words="cannot draw this"),
    Flagged: Meaning(
        code=Code.PERMANENT,
        reason=Reason.CONTENT_POLICY,
        words="withheld an image: its safety checker flagged it.",
        acceptance=Acceptance.ACCEPTED,
    ),
    DrawingStopped: Meaning(
        code=Code.TEMPORARY,
        reason=Reason.PROVIDER_UNAVAILABLE,
        words="was stopped while it was drawing.",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    ),
}


def classified(name: str, failure: DiffusionFailed) -> ProviderError:
    """Returns the error of a failure; the library's message is kept as evidence."""
    meaning = MEANINGS[type(failure)]
    # Users can correct what cannot be drawn, so they see the cause; other causes may name the operator's paths.
    why = f": {failure}." if isinstance(failure, Unsupported) else ""
    return ProviderError(
        code=meaning.code,
        reason=meaning.reason,
        message=f"{name} {meaning.words}{why}",
        retryable=meaning.retryable,
        acceptance=meaning.acceptance,
        vendor=VendorError(code=type(failure).__name__, message=str(failure)),
    )
