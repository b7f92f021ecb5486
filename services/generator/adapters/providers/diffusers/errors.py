"""What the ways in which a local pipeline fails mean: exactly one classified error each."""

from dataclasses import dataclass

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
    """What a failure means; `words` follow the provider's name."""

    code: str
    reason: str
    words: str
    retryable: bool = False
    acceptance: Acceptance = Acceptance.NOT_ACCEPTED


#: By the failure's class. What is none of these is a defect, and nobody knows how far it got.
MEANINGS: dict[type[DiffusionFailed], Meaning] = {
    OutOfMemory: Meaning(
        code="TEMPORARY", reason="PROVIDER_UNAVAILABLE", words="has too little memory for this now.", retryable=True
    ),
    ModelUnusable: Meaning(code="PERMANENT", reason="PROVIDER_REJECTED", words="cannot load its model."),
    Unsupported: Meaning(code="PERMANENT", reason="UNSUPPORTED", words="cannot draw this"),
    Flagged: Meaning(
        code="PERMANENT",
        reason="CONTENT_POLICY",
        words="withheld a picture: its safety checker flagged it.",
        acceptance=Acceptance.ACCEPTED,
    ),
    DrawingStopped: Meaning(
        code="TEMPORARY",
        reason="PROVIDER_UNAVAILABLE",
        words="was stopped while it was drawing.",
        retryable=True,
        acceptance=Acceptance.ACCEPTED,
    ),
}


def classified(name: str, failure: DiffusionFailed) -> ProviderError:
    """The error of a failure; what the library said is kept as evidence."""
    meaning = MEANINGS[type(failure)]
    # What cannot be drawn, and why, is for the caller to mend; where a model lies is not.
    why = f": {failure}." if isinstance(failure, Unsupported) else ""
    return ProviderError(
        code=meaning.code,
        reason=meaning.reason,
        message=f"{name} {meaning.words}{why}",
        retryable=meaning.retryable,
        acceptance=meaning.acceptance,
        vendor=VendorError(code=type(failure).__name__, message=str(failure)),
    )
